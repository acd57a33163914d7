#![no_main]
correio_fuzz::target!(mbox);

#![no_main]
correio_fuzz::target!(client_core);

#![no_main]
correio_fuzz::target!(broker_core);

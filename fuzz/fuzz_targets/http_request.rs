#![no_main]
correio_fuzz::target!(http_request);

#![no_main]
correio_fuzz::target!(server_url);

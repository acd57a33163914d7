#![no_main]
correio_fuzz::target!(key_file);

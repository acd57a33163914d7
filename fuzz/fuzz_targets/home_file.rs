#![no_main]
correio_fuzz::target!(home_file);

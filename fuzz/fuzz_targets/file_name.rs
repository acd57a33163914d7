#![no_main]
correio_fuzz::target!(file_name);

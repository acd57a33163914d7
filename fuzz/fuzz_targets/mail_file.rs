#![no_main]
correio_fuzz::target!(mail_file);

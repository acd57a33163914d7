#![no_main]
correio_fuzz::target!(outbox_file);

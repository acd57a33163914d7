#![no_main]
correio_fuzz::target!(mailbox_name);

#![no_main]
correio_fuzz::target!(chat_line);

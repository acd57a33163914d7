#![no_main]
correio_fuzz::target!(monitor_event);

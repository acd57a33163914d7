#![no_main]
correio_fuzz::target!(search_query);

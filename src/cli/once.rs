//! Shows once what came by several addresses, while a program stands: the first copy names them all, the others
//! need no word. What a `refresh` shows is put together by [`crate::client::mailbox`].

use std::collections::VecDeque;

use crate::protocol::MailId;
use crate::protocol::reply::Envelope;

/// Messages remembered: copies come right after one another, or after a gap in one log was filled.
const REMEMBERED: usize = 1_024;

/// The mails to several addresses that were heard of.
#[derive(Debug, Default)]
pub struct Once {
    heard: VecDeque<MailId>,
}

impl Once {
    /// Notes a mail. Says whether another copy of it was noted before.
    pub fn is_again(&mut self, mail: &Envelope) -> bool {
        if mail.to.len() < 2 {
            return false;
        }
        if self.heard.contains(&mail.message()) {
            return true;
        }
        if self.heard.len() == REMEMBERED {
            self.heard.pop_front();
        }
        self.heard.push_back(mail.message());
        false
    }
}

/// Returns the addresses by which copies of a mail come to who reads `reads`, the one of this copy first.
pub fn addresses<'a>(mail: &Envelope, reads: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let mut by = vec![mail.address.clone()];
    let others = reads
        .into_iter()
        .filter(|name| mail.to.iter().any(|to| to == name));
    for name in others {
        if !by.iter().any(|known| known == name) {
            by.push(name.to_owned());
        }
    }
    by
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mail(id: MailId, message: MailId, address: &str, to: &[&str]) -> Envelope {
        Envelope {
            id,
            message,
            address: address.to_owned(),
            to: to.iter().map(ToString::to_string).collect(),
            ..Envelope::default()
        }
    }

    #[test]
    fn copies_are_told_once_and_other_mails_always() {
        let mut once = Once::default();
        let both = ["bob", "news"];
        assert!(!once.is_again(&mail(41, 41, "bob", &both)));
        assert!(once.is_again(&mail(42, 41, "news", &both)));
        assert!(!once.is_again(&mail(43, 43, "news", &["news"])));
        // A server of before tells of no copies.
        assert!(!once.is_again(&mail(50, 0, "bob", &both)));
        assert!(!once.is_again(&mail(51, 0, "news", &both)));
        for id in 100..100 + REMEMBERED as u64 * 2 {
            assert!(!once.is_again(&mail(id, id, "bob", &both)));
        }
        assert_eq!(once.heard.len(), REMEMBERED);
    }

    #[test]
    fn the_addresses_are_those_that_are_read() {
        let mail = mail(42, 41, "news", &["bob", "news", "carol"]);
        assert_eq!(addresses(&mail, ["bob", "boats", "news"]), ["news", "bob"]);
        assert_eq!(addresses(&mail, [""; 0]), ["news"]);
    }
}

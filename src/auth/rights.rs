//! Who may read and send to which topics: rules that administrators grant, and what they amount to. Pure.
//!
//! A topic that no rule names is open to all. As soon as one names it for reading (or sending), only those may
//! whom a rule lets. `{user}` as a level of a rule's topic stands for the user's own name.

use std::collections::BTreeSet;

use crate::protocol::LogNumber;
use crate::protocol::request::Right;
use crate::store::GrantRecord;

/// The level of a rule's topic that stands for the user's own name.
const USER: &str = "{user}";

/// All rules.
#[derive(Debug, Clone, Default)]
pub struct Rights {
    grants: BTreeSet<GrantRecord>,
}

impl Rights {
    /// Takes what the store held.
    pub fn restore(grants: Vec<GrantRecord>) -> Self {
        Self {
            grants: grants.into_iter().collect(),
        }
    }

    /// Says whether a user, by number and name, may read or send to a topic.
    pub fn may(&self, right: Right, (user, name): (LogNumber, &str), topic: &str) -> bool {
        let mut of_topic = self.naming(right, topic).peekable();
        of_topic.peek().is_none()
            || of_topic.any(|grant| {
                let is_his = grant.who.is_none_or(|who| who == user);
                is_his && covers(&grant.topic, topic, Some(name))
            })
    }

    /// Returns the rules that name a topic, for whomever.
    pub fn naming<'a>(
        &'a self,
        right: Right,
        topic: &'a str,
    ) -> impl Iterator<Item = &'a GrantRecord> {
        let of_right = self.grants.iter().filter(move |grant| grant.right == right);
        of_right.filter(move |grant| covers(&grant.topic, topic, None))
    }

    /// Returns the rules that are for one user alone.
    pub fn of_user(&self, user: LogNumber) -> impl Iterator<Item = &GrantRecord> {
        self.grants
            .iter()
            .filter(move |grant| grant.who == Some(user))
    }

    /// Adds a rule; says whether it is new.
    pub fn add(&mut self, grant: GrantRecord) -> bool {
        self.grants.insert(grant)
    }

    /// Takes a rule away; says whether it was there.
    pub fn remove(&mut self, grant: &GrantRecord) -> bool {
        self.grants.remove(grant)
    }

    /// Returns how many rules there are.
    pub fn count(&self) -> usize {
        self.grants.len()
    }
}

/// Says whether a rule's topic names a topic, for a user, or for any.
pub fn covers(rule: &str, topic: &str, user: Option<&str>) -> bool {
    let (mut levels, mut names) = (rule.split('/'), topic.split('/'));
    loop {
        match (levels.next(), names.next()) {
            // The end of both; or all below, and there is something below.
            (None, None) | (Some("*"), Some(_)) => return true,
            (Some(USER), Some(name)) if user.is_none_or(|user| user == name) => {}
            (Some(level), Some(name)) if level == name => {}
            _ => return false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grant(topic: &str, right: Right, who: Option<LogNumber>) -> GrantRecord {
        GrantRecord {
            topic: topic.into(),
            right,
            who,
        }
    }

    #[test]
    fn a_rule_names_topics_level_by_level() {
        assert!(covers("news", "news", None));
        assert!(!covers("news", "news/a", None) && !covers("news/a", "news", None));
        assert!(covers("lab/*", "lab/a", None) && covers("lab/*", "lab/a/b", None));
        assert!(!covers("lab/*", "lab", None) && !covers("lab/*", "label/a", None));
        assert!(covers("home/{user}/*", "home/ana/x", Some("ana")));
        assert!(!covers("home/{user}/*", "home/anabela/x", Some("ana")));
        assert!(covers("home/{user}", "home/anybody", None));
        assert!(!covers("home/{user}", "home", Some("home")));
    }

    #[test]
    fn a_topic_is_open_until_a_rule_names_it() {
        let mut rights = Rights::default();
        let (ana, bob) = ((1, "ana"), (2, "bob"));
        assert!(rights.may(Right::Read, bob, "news"));
        assert!(rights.add(grant("news", Right::Read, Some(1))));
        assert!(rights.may(Right::Read, ana, "news") && !rights.may(Right::Read, bob, "news"));
        assert!(
            rights.may(Right::Send, bob, "news"),
            "the other right is open"
        );
        assert!(rights.may(Right::Read, bob, "news/a"));
        assert!(rights.add(grant("home/{user}/*", Right::Read, None)));
        assert!(rights.may(Right::Read, bob, "home/bob/mail"));
        assert!(!rights.may(Right::Read, ana, "home/bob/mail"));
        assert!(rights.remove(&grant("news", Right::Read, Some(1))));
        assert!(rights.may(Right::Read, bob, "news"), "and open again");
        assert_eq!(rights.count(), 1);
    }

    #[test]
    fn who_has_a_number_does_not_have_anothers_name() {
        let mut rights = Rights::default();
        rights.add(grant("news", Right::Send, Some(1)));
        assert!(!rights.may(Right::Send, (9, "ana"), "news"), "ana's heir");
    }
}

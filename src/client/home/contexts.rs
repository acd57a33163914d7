//! Names for the home's accounts: a context is one user at one server. Every account has one, given by
//! its owner or made of the user's name and, where that is not enough, the server's.

use std::collections::BTreeMap;

use super::{Account, AccountName, Home, HomeError};
use crate::protocol::names::UserName;

/// An account under its name.
#[derive(Debug, Clone)]
pub struct Context {
    /// The name.
    pub name: String,
    /// The owner gave it.
    pub is_given: bool,
    /// It is the one that commands use when none is named.
    pub is_default: bool,
    /// The account.
    pub account: Account,
}

impl Home {
    /// Returns every account with its name, in the order of the names.
    pub fn contexts(&self) -> Result<Vec<Context>, HomeError> {
        let file = self.home_file()?;
        let mut found = BTreeMap::new();
        let mut nameless = Vec::new();
        for account in self.accounts()? {
            let own = account.name();
            let given = file.contexts.iter().find(|(_, of)| **of == own);
            let is_default = file.default.as_ref() == Some(&own);
            match given {
                Some((name, _)) => drop(found.insert(name.clone(), (true, is_default, account))),
                None => nameless.push((is_default, account)),
            }
        }
        for (is_default, account) in nameless {
            let name = free_name(&account, |name| found.contains_key(name));
            found.insert(name, (false, is_default, account));
        }
        let context = |(name, (is_given, is_default, account))| Context {
            name,
            is_given,
            is_default,
            account,
        };
        Ok(found.into_iter().map(context).collect())
    }

    /// Returns the account of that name.
    pub fn context(&self, name: &str) -> Result<Context, HomeError> {
        let same =
            |known: &str| known == name || UserName::parse(name).is_ok_and(|n| n.as_str() == known);
        let mut all = self.contexts()?.into_iter();
        all.find(|context| same(&context.name))
            .ok_or_else(|| HomeError::NoSuchContext {
                name: name.to_owned(),
            })
    }

    /// Gives an account a name; one that it had is gone, and so is another account's same name.
    pub fn name_context(&self, name: &UserName, account: &Account) -> Result<(), HomeError> {
        let _lock = self.lock()?;
        let mut file = self.home_file()?;
        let own = account.name();
        file.contexts.retain(|_, of| *of != own);
        file.contexts.insert(name.as_str().to_owned(), own);
        self.write(&file)
    }

    /// Takes a given name away. Returns whether there was one; the account stays.
    pub fn unname_context(&self, name: &str) -> Result<bool, HomeError> {
        let _lock = self.lock()?;
        let mut file = self.home_file()?;
        let had = file.contexts.remove(name).is_some();
        if had {
            self.write(&file)?;
        }
        Ok(had)
    }
}

/// Makes a name that no other account has: the user's, with the server's host, port or a number as needed.
fn free_name(account: &Account, is_taken: impl Fn(&str) -> bool) -> String {
    let (user, url) = (account.user(), &account.place().url);
    let candidates = [
        user.to_string(),
        format!("{user}@{}", url.host),
        format!("{user}@{}:{}", url.host, url.port),
    ];
    let numbered = (2..).map(|n| format!("{user}@{}:{}-{n}", url.host, url.port));
    let mut names = candidates.into_iter().chain(numbered);
    names
        .find(|name| !is_taken(name))
        .expect("the numbers do not end")
}

/// Keeps only names of accounts that are there.
pub(super) fn without(contexts: &mut BTreeMap<String, AccountName>, gone: &AccountName) {
    contexts.retain(|_, of| of != gone);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{home, login, user};
    use super::*;

    #[test]
    fn every_account_has_a_name_of_its_own() {
        let (_folder, home) = home();
        let here = login(&home, 1, "ana");
        let there = login(&home, 2, "ana");
        login(&home, 2, "bob");
        let names = || -> Vec<String> {
            let all = home.contexts().unwrap().into_iter();
            all.map(|context| context.name).collect()
        };
        assert_eq!(names(), ["ana", "ana@localhost", "bob"]);
        home.name_context(&user("work"), &there).unwrap();
        assert_eq!(names(), ["ana", "bob", "work"]);
        assert_eq!(home.context("WORK").unwrap().account.server_key()[0], 2);
        home.name_context(&user("job"), &there).unwrap();
        assert_eq!(names(), ["ana", "bob", "job"], "one name each");
        home.name_context(&user("ana"), &there).unwrap();
        assert_eq!(names(), ["ana", "ana@localhost", "bob"]);
        assert_eq!(home.context("ana").unwrap().account.server_key()[0], 2);
        assert!(matches!(
            home.context("eve"),
            Err(HomeError::NoSuchContext { .. })
        ));
        home.forget(&there).unwrap();
        assert_eq!(names(), ["ana", "bob"]);
        assert_eq!(home.default_account().unwrap().unwrap().folder, here.folder);
        assert!(
            !home.unname_context("ana").unwrap(),
            "its name went with it"
        );
    }
}

//! Invitations of others, as `refresh`, `watch`, `chat` and the shell show them.

use std::collections::BTreeMap;

use super::super::error::CliError;
use super::super::show::{self, Answer};
use super::super::ui::Ui;
use crate::client::ClientError;
use crate::client::home::Account;
use crate::client::session::Session;
use crate::protocol::codes::Code;
use crate::protocol::reply::{ChatRow, ChatState};
use crate::protocol::request::ChatId;

/// What the server keeps of invitations to this device, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    /// They stand, and can be answered.
    pub(crate) open: Vec<ChatRow>,
    /// They ended before this user saw them.
    pub(crate) missed: Vec<ChatRow>,
}

impl Waiting {
    /// Asks the server. One that knows no chats has none.
    pub(crate) fn of(session: &mut Session) -> Result<Self, ClientError> {
        let rows = match session.chats() {
            Err(error) if error.is_refused(Code::Unsupported) => Vec::new(),
            answered => answered?,
        };
        let own = Own::of(session);
        let (mut open, mut missed) = (Vec::new(), Vec::new());
        for row in rows.into_iter().filter(|row| own.is_asked(row)) {
            match row.state {
                ChatState::Open => open.push(row),
                ChatState::Expired | ChatState::Withdrawn => missed.push(row),
                _ => {}
            }
        }
        Ok(Self { open, missed })
    }

    /// Says whether there is nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.missed.is_empty()
    }

    /// Returns how many there are.
    pub(crate) fn len(&self) -> usize {
        self.open.len() + self.missed.len()
    }

    /// Shows all of them.
    pub(crate) fn show(&self, ui: &mut Ui, answer: Answer) -> Result<(), CliError> {
        self.missed
            .iter()
            .try_for_each(|row| show::missed(ui, row))?;
        self.open
            .iter()
            .try_for_each(|row| show::invitation(ui, row, answer))
    }

    /// Tells the server that the missed ones were shown.
    pub(crate) fn seen(&self, session: &mut Session) -> Result<(), ClientError> {
        if self.missed.is_empty() {
            return Ok(());
        }
        let chats: Vec<ChatId> = self.missed.iter().map(|row| row.chat.clone()).collect();
        session.chat_seen(&chats)
    }
}

/// Who this device is.
#[derive(Debug)]
struct Own {
    user: String,
    /// None before the server said it.
    device: Option<u64>,
}

impl Own {
    fn of(session: &Session) -> Self {
        Self {
            device: Some(session.login().device),
            ..Self::before_login(session.account())
        }
    }

    fn before_login(account: &Account) -> Self {
        Self {
            user: account.user().as_str().to_owned(),
            device: None,
        }
    }

    /// Says whether this device may answer: its user is asked, by somebody else or another device.
    fn is_asked(&self, row: &ChatRow) -> bool {
        row.to == self.user && (row.from != self.user || Some(row.device) != self.device)
    }
}

/// Shows invitations as they come, and how those that were shown end.
#[derive(Debug)]
pub(crate) struct Live {
    own: Own,
    answer: Answer,
    /// Shown, and open as far as is known.
    told: BTreeMap<ChatId, ChatRow>,
    /// Shown from beginning to end: a refresh need not tell them as missed.
    ended: Vec<ChatId>,
}

impl Live {
    /// Begins with nothing shown, for a user who may not be logged in yet.
    pub(crate) fn new(account: &Account, answer: Answer) -> Self {
        Self {
            own: Own::before_login(account),
            answer,
            told: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    /// Begins with nothing shown in a session.
    pub(crate) fn of(session: &Session, answer: Answer) -> Self {
        let mut live = Self::new(session.account(), answer);
        live.logged_in(session);
        live
    }

    /// Takes in who this device is at the server.
    pub(crate) fn logged_in(&mut self, session: &Session) {
        self.own = Own::of(session);
    }

    /// Changes how to answer is told.
    pub(crate) fn set_answer(&mut self, answer: Answer) {
        self.answer = answer;
    }

    /// Notes that this very program answers an invitation: how that ends is no news.
    pub(crate) fn answered(&mut self, chat: &ChatId) {
        self.told.remove(chat);
    }

    /// Shows again what stands: it was shown when it could not be answered.
    pub(crate) fn remind(&self, ui: &mut Ui) -> Result<(), CliError> {
        let mut rows = self.told.values();
        rows.try_for_each(|row| show::invitation(ui, row, self.answer))
    }

    /// Returns the invitations whose end was shown and that would else be told as missed.
    pub(crate) fn take_ended(&mut self) -> Vec<ChatId> {
        std::mem::take(&mut self.ended)
    }

    /// Shows what is news about an invitation to this device; returns whether it was.
    pub(crate) fn hear(&mut self, ui: &mut Ui, row: &ChatRow) -> Result<bool, CliError> {
        let open = row.state == ChatState::Open;
        let is_new = open && self.own.is_asked(row) && !self.told.contains_key(&row.chat);
        if is_new {
            self.told.insert(row.chat.clone(), row.clone());
            show::invitation(ui, row, self.answer)?;
            return Ok(true);
        }
        // What ended unseen is for a refresh to tell.
        if !open && self.told.remove(&row.chat).is_some() {
            show::invitation_ended(ui, row)?;
            if matches!(row.state, ChatState::Expired | ChatState::Withdrawn) {
                self.ended.push(row.chat.clone());
            }
            return Ok(true);
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::tests::captured;

    fn row(from: &str, device: u64, state: ChatState) -> ChatRow {
        ChatRow {
            chat: format!("{from}{device}"),
            from: from.into(),
            to: "bob".into(),
            state,
            device,
            asked_at: "A".into(),
            expires_at: "E".into(),
        }
    }

    fn live() -> Live {
        let user = "bob".to_owned();
        Live {
            own: Own {
                user,
                device: Some(7),
            },
            answer: Answer::Verb,
            told: BTreeMap::new(),
            ended: Vec::new(),
        }
    }

    #[test]
    fn an_invitation_is_told_once_and_its_end_once() {
        let (mut ui, out, _) = captured(false);
        let mut live = live();
        for state in [
            ChatState::Open,
            ChatState::Open,
            ChatState::Withdrawn,
            ChatState::Withdrawn,
        ] {
            live.hear(&mut ui, &row("ana", 1, state)).unwrap();
        }
        assert_eq!(
            out.text(),
            "? ana asks for a direct chat until E - mailctl chat accept ana\n\
             ? the invitation of ana was taken back\n"
        );
        assert_eq!(live.take_ended(), ["ana1"]);
    }

    #[test]
    fn what_stands_is_told_again_and_what_was_answered_elsewhere_is_no_missed_one() {
        let (mut ui, out, _) = captured(false);
        let mut live = live();
        for from in ["ana", "carol"] {
            live.hear(&mut ui, &row(from, 1, ChatState::Open)).unwrap();
        }
        live.hear(&mut ui, &row("ana", 1, ChatState::Accepted))
            .unwrap();
        live.remind(&mut ui).unwrap();
        assert_eq!(out.text().matches("? carol asks").count(), 2);
        assert_eq!(out.text().matches("? ana asks").count(), 1);
        assert!(live.take_ended().is_empty());
    }

    #[test]
    fn what_ended_unseen_is_left_to_a_refresh() {
        let (mut ui, out, _) = captured(false);
        live()
            .hear(&mut ui, &row("ana", 1, ChatState::Expired))
            .unwrap();
        assert_eq!(out.text(), "");
    }

    #[test]
    fn ones_own_invitation_is_not_told_but_another_devices_is() {
        let (mut ui, out, _) = captured(true);
        let mut live = live();
        assert!(!live.hear(&mut ui, &row("bob", 7, ChatState::Open)).unwrap());
        assert!(live.hear(&mut ui, &row("bob", 8, ChatState::Open)).unwrap());
        let mut to_another = row("bob", 7, ChatState::Open);
        to_another.to = "carol".into();
        assert!(!live.hear(&mut ui, &to_another).unwrap());
        assert_eq!(out.text().lines().count(), 1);
    }

    #[test]
    fn p12_an_invitation_cannot_act() {
        let (mut ui, out, _) = captured(false);
        let evil = row("a\u{1b}[2J\n", 1, ChatState::Open);
        live().hear(&mut ui, &evil).unwrap();
        assert_eq!(out.text().lines().count(), 1);
        assert!(!out.text().contains('\u{1b}'));
    }
}

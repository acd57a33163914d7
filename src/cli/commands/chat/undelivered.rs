//! What becomes of lines that never arrived: each is sent as a mail, or they are dropped.
//!
//! A mail of a line names chat and seq, so that a client which had shown the line all the same does not
//! show it again ([`crate::client::shown`]). Where the server is gone too, the mails wait in the outbox
//! and go out by themselves, in order.

use std::time::Duration;

use serde::Serialize;

use super::talk::Party;
use crate::chat::Undelivered;
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_n};
use crate::cli::json::object;
use crate::cli::ui::Ui;
use crate::cli::untrusted::visible;
use crate::client::ClientError;
use crate::client::home::Account;
use crate::client::outbox::Draft;
use crate::client::session::Session;
use crate::client::shown::line_type;
use crate::protocol::reply::Outcome;

/// How long a server that may be gone is waited for: the end of a chat takes no more than some seconds.
const PATIENCE: Duration = Duration::from_secs(3);

/// How long the server may take to hear that the session is over.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The subject of such a mail.
const SUBJECT: &str = "line of a chat";

/// What is left after a chat.
#[derive(Debug)]
pub(crate) struct Left<'a> {
    /// Whose lines.
    pub(crate) account: &'a Account,
    /// For whom.
    pub(crate) party: &'a Party,
    /// The chat's session; nothing when the server did not answer.
    pub(crate) session: Option<Session>,
    /// The server is known not to answer.
    pub(crate) server_down: bool,
}

/// What became of the lines.
#[derive(Debug, Default, Serialize)]
struct Fate {
    count: usize,
    /// Mails that are at the server.
    sent: usize,
    /// Mails that wait in the outbox.
    queued: usize,
    /// Lines that the server refused as mail.
    refused: usize,
    /// Why, of the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusal: Option<String>,
    /// Lines that nobody wanted to send.
    dropped: usize,
}

impl Left<'_> {
    /// Sends each line as a mail, in order, and reports it. The error is the first refusal's exit code.
    pub(crate) fn mail(&mut self, ui: &mut Ui, lines: &[Undelivered]) -> Result<(), CliError> {
        let mut fate = Fate::of(lines);
        let mut refusal: Option<CliError> = None;
        for line in lines {
            match self.mail_one(line) {
                Ok(true) => fate.sent += 1,
                Ok(false) => fate.queued += 1,
                Err(error) => {
                    fate.refused += 1;
                    refusal = refusal.or(Some(error));
                }
            }
        }
        fate.refusal = refusal.as_ref().map(|error| error.text.clone());
        self.report(ui, &fate);
        refusal.map_or(Ok(()), |error| Err(CliError::silent(error.exit)))
    }

    /// Reports that the lines are dropped.
    pub(crate) fn drop(&mut self, ui: &mut Ui, lines: &[Undelivered]) {
        let mut fate = Fate::of(lines);
        fate.dropped = lines.len();
        self.report(ui, &fate);
    }

    /// Ends the session.
    pub(crate) fn close(self) {
        if let Some(session) = self.session {
            // That it could not be told to the server harms nothing.
            drop(session.close_within(LAST_WORD));
        }
    }

    /// Sends one line as a mail: at the server now, or in the outbox.
    fn mail_one(&mut self, line: &Undelivered) -> Result<bool, CliError> {
        let draft = self.draft(line);
        let Some(session) = self.session.as_mut().filter(|_| !self.server_down) else {
            self.account.outbox()?.keep(&draft, true)?;
            return Ok(false);
        };
        session.set_timeout(PATIENCE);
        match session.send_or_queue(draft, true) {
            Ok(sent) => sent
                .outcomes
                .into_iter()
                .find_map(refused)
                .map_or(Ok(true), Err),
            // It is in the outbox; so is what follows, which keeps the order.
            Err(ClientError::NotSent { .. } | ClientError::InDoubt { .. }) => {
                self.server_down = true;
                Ok(false)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn draft(&self, line: &Undelivered) -> Draft {
        Draft {
            to: vec![self.party.peer.clone()],
            subject: SUBJECT.to_owned(),
            content_type: line_type(&self.party.chat, line.seq),
            body: line.text.clone().into_bytes(),
            ..Draft::default()
        }
    }

    fn report(&self, ui: &mut Ui, fate: &Fate) {
        if fate.count == 0 {
            return;
        }
        let row = Row {
            kind: "undelivered",
            chat: &self.party.chat,
            peer: &self.party.peer,
            fate,
        };
        ui.report_as(&object(row), fate.told(&visible(&self.party.peer)));
    }
}

#[derive(Serialize)]
struct Row<'a> {
    kind: &'static str,
    chat: &'a str,
    peer: &'a str,
    #[serde(flatten)]
    fate: &'a Fate,
}

impl Fate {
    fn of(lines: &[Undelivered]) -> Self {
        Self {
            count: lines.len(),
            ..Self::default()
        }
    }

    /// Returns it in words.
    fn told(&self, peer: &str) -> String {
        let refusal = self.refusal.as_deref().unwrap_or(tr!("no reason given"));
        let parts = [
            (self.sent, tr!("sent to {} as mail", peer)),
            (self.queued, tr!("kept in the outbox, for {} as mail", peer)),
            (self.refused, tr!("refused as mail: {}", refusal)),
            (self.dropped, tr!("dropped").to_owned()),
        ];
        let parts = parts.iter().filter(|(count, _)| *count > 0);
        let parts: Vec<String> = parts
            .map(|(count, what)| {
                if *count == self.count {
                    what.clone()
                } else {
                    format!("{count} {what}")
                }
            })
            .collect();
        tr_n!(
            self.count as u64,
            "{n} line was not delivered; {fate}",
            "{n} lines were not delivered; {fate}",
            fate = parts.join(", ")
        )
    }
}

fn refused(outcome: Outcome) -> Option<CliError> {
    match outcome {
        Outcome::Refused { error, .. } => Some(CliError::from(error)),
        Outcome::Sent { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_report_says_what_became_of_each_line() {
        let fate = |sent, queued, refused, dropped| Fate {
            count: sent + queued + refused + dropped,
            sent,
            queued,
            refused,
            refusal: (refused > 0).then(|| "no".to_owned()),
            dropped,
        };
        assert_eq!(
            fate(3, 0, 0, 0).told("bob"),
            "3 lines were not delivered; sent to bob as mail"
        );
        assert_eq!(
            fate(0, 0, 0, 1).told("bob"),
            "1 line was not delivered; dropped"
        );
        assert_eq!(
            fate(2, 1, 1, 0).told("bob"),
            "4 lines were not delivered; 2 sent to bob as mail, 1 kept in the outbox, for bob as mail, \
             1 refused as mail: no"
        );
    }
}

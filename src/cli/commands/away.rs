//! What waits, in a few lines before the mails themselves: per address how many, who wrote, since when.

use std::collections::BTreeMap;

use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_n};
use crate::cli::show::counted;
use crate::cli::times;
use crate::cli::ui::{Table, Ui};
use crate::cli::untrusted::visible;
use crate::client::home::Account;
use crate::client::mailbox::Mailbox;
use crate::protocol::reply::Envelope;

/// Mails that need no survey: they are read as fast.
const FEW: usize = 3;

/// Writers named for an address; the others are counted.
const WRITERS: usize = 4;

/// Says above the mails whose they are and how many of how many come.
pub(super) fn heading(
    ui: &mut Ui,
    account: &Account,
    mailbox: &Mailbox,
    wanted: usize,
    total: usize,
) -> Result<(), CliError> {
    if ui.is_json() || total == 0 {
        return Ok(());
    }
    let user = account.user();
    let mails = counted(total as u64, "mail");
    if total > FEW {
        ui.line(tr!("while you were away: {} for {}", mails, user))?;
        survey(&mailbox.unseen_envelopes()?).print(ui)?;
        if wanted < total {
            ui.line(tr!("{} of them now", wanted))?;
        }
        Ok(())
    } else if wanted < total {
        ui.line(tr!("{} of {} for {}", wanted, mails, user))
    } else {
        ui.line(tr!("{} for {}", mails, user))
    }
}

/// What came to one address.
#[derive(Debug)]
struct Heap<'a> {
    mails: u64,
    oldest: &'a str,
    /// Writers with their counts, in the order in which they first wrote.
    writers: Vec<(&'a str, u64)>,
}

/// Counts per address, the address with the oldest mail first.
fn survey(unseen: &[Envelope]) -> Table {
    let mut heaps: BTreeMap<&str, Heap<'_>> = BTreeMap::new();
    let mut order = Vec::new();
    for mail in unseen {
        let heap = heaps.entry(&mail.address).or_insert_with(|| {
            order.push(mail.address.as_str());
            Heap {
                mails: 0,
                oldest: &mail.sent_at,
                writers: Vec::new(),
            }
        });
        heap.mails += 1;
        match heap.writers.iter_mut().find(|(from, _)| *from == mail.from) {
            Some((_, count)) => *count += 1,
            None => heap.writers.push((mail.from.as_str(), 1)),
        }
    }
    let mut table = Table::new(&[tr!("To"), tr!(">Mails"), tr!("Oldest"), tr!("From")]);
    for address in order {
        let heap = &heaps[address];
        table.row(&[
            &address,
            &heap.mails,
            &times::human(heap.oldest),
            &writers(&heap.writers),
        ]);
    }
    table
}

/// Names who wrote, most first: `bob (9), ana`.
fn writers(writers: &[(&str, u64)]) -> String {
    let mut most: Vec<&(&str, u64)> = writers.iter().collect();
    most.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    let name = |(from, count): &&(&str, u64)| match count {
        1 => visible(from),
        count => format!("{} ({count})", visible(from)),
    };
    let mut named: Vec<String> = most.iter().take(WRITERS).map(name).collect();
    let others = most.len().saturating_sub(WRITERS) as u64;
    if others > 0 {
        named.push(tr_n!(others, "and {n} other", "and {n} others"));
    }
    named.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ui::tests::captured;

    fn mail(address: &str, from: &str, sent_at: &str) -> Envelope {
        Envelope {
            id: 1,
            message: 1,
            in_reply_to: None,
            thread: None,
            prev: 0,
            n: 1,
            address: address.into(),
            from: from.into(),
            to: vec![address.into()],
            subject: String::new(),
            sent_at: sent_at.into(),
            expires_at: None,
            content_type: "text/plain".into(),
            size: 0,
            frames: 1,
        }
    }

    #[test]
    fn each_address_has_its_count_its_oldest_and_its_writers() {
        let mut unseen = vec![mail("news", "dave", "first"), mail("ana", "bob", "second")];
        unseen.extend((0..3).map(|_| mail("news", "eve\u{1b}", "third")));
        unseen.extend(["u", "v", "w", "x"].map(|from| mail("news", from, "fourth")));
        let (mut ui, out, _) = captured(false);
        survey(&unseen).print(&mut ui).unwrap();
        insta::assert_snapshot!(out.text(), @r"
        To    Mails  Oldest  From
        news      8  first   eve␛ (3), dave, u, v, and 2 others
        ana       1  second  bob
        ");
    }
}

//! Storing and showing, with a crash between every two steps.

use super::*;
use proptest::prelude::*;

const LOG: LogNumber = 4;

fn mailbox() -> (tempfile::TempDir, Mailbox) {
    let folder = tempfile::tempdir().unwrap();
    let mailbox = Mailbox::open(folder.path(), "srv").unwrap();
    mailbox.meet(&[info(LOG, 0)]).unwrap();
    (folder, mailbox)
}

fn info(log: LogNumber, cursor: MailId) -> LogInfo {
    LogInfo {
        log,
        address: "news".to_owned(),
        kind: "topic".to_owned(),
        key: String::new(),
        head: 0,
        cursor,
        n: 0,
        waiting: 0,
    }
}

/// The `n`th mail of the log: ids are 10, 20, 30 ...
fn mail(n: u64) -> Mail {
    let body = format!("body {n}\n\nwith\0bytes").into_bytes();
    Mail {
        log: LOG,
        envelope: Envelope {
            id: n * 10,
            prev: (n - 1) * 10,
            n,
            address: "news".to_owned(),
            from: "ana".to_owned(),
            to: vec!["news".to_owned()],
            subject: String::new(),
            sent_at: "2026-11-22T14:00:00.123Z".to_owned(),
            expires_at: None,
            content_type: "text/plain".to_owned(),
            size: body.len() as u64,
            frames: 1,
            ..Envelope::default()
        },
        body,
    }
}

fn name(n: u64) -> Name {
    Name::of(&mail(n), 0)
}

fn mark(n: u64) -> Mark {
    Mark {
        id: n * 10,
        n: Some(n),
    }
}

fn piece(after: u64, through: u64, mails: &[Mail]) -> Piece<'_> {
    Piece {
        log: LOG,
        address: "news",
        after: after * 10,
        through: mark(through),
        trimmed: None,
        mails,
    }
}

/// Shows everything unseen and returns which mails that were.
fn show(mailbox: &Mailbox) -> Vec<u64> {
    let mut shown = Vec::new();
    for (id, log) in mailbox.unseen().unwrap() {
        if let Some(claim) = mailbox.claim(id, log).unwrap() {
            assert_eq!(claim.read().unwrap(), mail(id / 10));
            shown.push(id / 10);
            mailbox.shown(vec![claim]).unwrap();
        }
    }
    shown
}

#[test]
fn pages_are_stored_shown_once_and_found_again() {
    let (_folder, mailbox) = mailbox();
    let mails = [mail(1), mail(2), mail(4)];
    let stored = mailbox.store_page(&piece(0, 4, &mails)).unwrap();
    assert_eq!(stored, Stored::Upto(mark(4)));
    assert_eq!(mailbox.marks().unwrap()[&LOG], mark(4));
    let again = mailbox.store_page(&piece(0, 4, &mails)).unwrap();
    assert_eq!(again, Stored::Upto(mark(4)));
    assert_eq!(show(&mailbox), [1, 2, 4]);
    assert!(show(&mailbox).is_empty());
    assert_eq!(mailbox.get(20).unwrap(), Some(mail(2)));
    assert_eq!(mailbox.get(21).unwrap(), None);
}

#[test]
fn live_mail_fits_the_mark_or_is_left() {
    let (_folder, mailbox) = mailbox();
    let moved = mailbox.store_live(&[mail(1), mail(2), mail(4)]).unwrap();
    assert_eq!(moved, BTreeMap::from([(LOG, mark(2))]));
    assert!(mailbox.store_live(&[mail(2), mail(4)]).unwrap().is_empty());
    assert_eq!(
        mailbox.store_page(&piece(3, 4, &[mail(4)])).unwrap(),
        Stored::Elsewhere(mark(2)),
        "a page beyond the mark leaves a hole"
    );
    assert_eq!(show(&mailbox), [1, 2]);
}

#[test]
fn a_killed_shower_leaves_its_mail_to_the_next() {
    let (folder, mailbox) = mailbox();
    mailbox.store_live(&[mail(1)]).unwrap();
    let other = Mailbox::open(folder.path(), "srv").unwrap();
    let claim = mailbox.claim(10, LOG).unwrap().unwrap();
    assert!(other.claim(10, LOG).unwrap().is_none());
    assert!(show(&other).is_empty());
    drop(claim); // killed while showing
    assert_eq!(show(&other), [1]);
    assert!(mailbox.claim(10, LOG).unwrap().is_none());
}

/// A crash after any of the steps of storing: nothing is seen before its mark moved, and fetching
/// again stores everything once.
#[test]
fn p02_a_crash_between_the_steps_loses_and_doubles_nothing() {
    let (folder, mailbox) = mailbox();
    mailbox.store_live(&[mail(1)]).unwrap();
    let (two, three) = (mail(2), mail(3));
    // Written aside, half of one.
    let aside = folder.path().join("mail/tmp").join(name_of(name(2)));
    fs::write(&aside, "From: half").unwrap();
    assert_eq!(mailbox.unseen().unwrap(), [(10, LOG)]);
    // Renamed, the mark not moved.
    let marks = mailbox.read_marks().unwrap();
    mailbox.write_mails(&[&two, &three], &marks).unwrap();
    assert_eq!(mailbox.unseen().unwrap(), [(10, LOG)]);
    // The marks written aside, half.
    fs::write(folder.path().join("marks.json.tmp"), "{").unwrap();
    assert_eq!(show(&mailbox), [1]);
    let mails = [two, three];
    mailbox.store_page(&piece(1, 3, &mails)).unwrap();
    // Stored, the acknowledgement lost: the page comes again.
    mailbox.store_page(&piece(1, 3, &mails)).unwrap();
    assert_eq!(show(&mailbox), [2, 3]);
    assert!(show(&mailbox).is_empty());
}

#[test]
fn a_rewind_brings_back_only_what_is_not_here() {
    let (folder, mailbox) = mailbox();
    mailbox.store_live(&[mail(1), mail(2), mail(3)]).unwrap();
    assert_eq!(show(&mailbox), [1, 2, 3]);
    let gone = folder
        .path()
        .join("mail/cur")
        .join(cur_name(&format!("{}:2,S", name_of(name(2)))));
    fs::remove_file(gone).unwrap();
    mailbox.rewind(LOG, mark(0)).unwrap();
    let mails = [mail(1), mail(2), mail(3), mail(4)];
    mailbox.store_page(&piece(0, 4, &mails)).unwrap();
    assert_eq!(show(&mailbox), [2, 4]);
}

#[test]
fn p07_what_was_trimmed_is_told_once() {
    let (_folder, mailbox) = mailbox();
    let mails = [mail(5)];
    let trimmed = Trimmed {
        count: 4,
        from_id: 0,
    };
    let piece = Piece {
        trimmed: Some(trimmed),
        ..piece(0, 5, &mails)
    };
    mailbox.store_page(&piece).unwrap();
    mailbox.store_page(&piece).unwrap();
    let claim = mailbox.claim_trimmed().unwrap().unwrap();
    assert_eq!(claim.notices.len(), 1);
    assert_eq!((claim.notices[0].count, claim.notices[0].from_id), (4, 0));
    assert!(mailbox.claim_trimmed().unwrap().is_none(), "one tells");
    drop(claim); // killed while telling
    let claim = mailbox.claim_trimmed().unwrap().unwrap();
    mailbox.told(claim).unwrap();
    assert!(mailbox.claim_trimmed().unwrap().is_none());
}

/// The `n`th mail of the log after the server went back: another one under the same id.
fn other(n: u64) -> Mail {
    let mut other = mail(n);
    other.envelope.sent_at = "2026-11-22T15:00:00.123Z".to_owned();
    other
}

fn row(cursor: u64, head: u64) -> LogInfo {
    LogInfo {
        head: head * 10,
        n: cursor,
        ..info(LOG, cursor * 10)
    }
}

/// A login at a server that stands so, as a session does it.
fn login(mailbox: &mut Mailbox, row: LogInfo, incarnation: u64) -> Option<Back> {
    let seen = mailbox.seen().unwrap();
    let rows = [row];
    let back = mailbox.is_back(&rows, incarnation, &seen);
    mailbox.enter(&rows, incarnation, back, &seen).unwrap();
    mailbox.meet(&rows).unwrap();
    back
}

#[test]
fn p03_a_server_that_went_back_hides_nothing_and_brings_nothing_twice() {
    let (_folder, mut mailbox) = mailbox();
    assert_eq!(login(&mut mailbox, row(0, 0), 1), None, "the first login");
    mailbox.store_live(&[mail(1), mail(2), mail(3)]).unwrap();
    assert_eq!(login(&mut mailbox, row(1, 3), 1), None, "not acknowledged");
    let claim = mailbox.claim(10, LOG).unwrap().unwrap();
    mailbox.shown(vec![claim]).unwrap();
    assert_eq!(login(&mut mailbox, row(1, 2), 1), Some(Back::Older));
    assert_eq!(mailbox.going_back().unwrap(), Some(Back::Older));
    mailbox.told_going_back().unwrap();
    assert_eq!(mailbox.going_back().unwrap(), None);
    assert_eq!(mailbox.marks().unwrap()[&LOG], mark(1));
    // The second is the one of before, the third is another.
    let page = [mail(2), other(3)];
    mailbox.store_page(&piece(1, 3, &page)).unwrap();
    assert_eq!(mailbox.get(30).unwrap(), Some(other(3)));
    assert_eq!(login(&mut mailbox, row(3, 3), 1), None, "said and over");
    let mut shown = Vec::new();
    for (id, log) in mailbox.unseen().unwrap() {
        let claim = mailbox.claim(id, log).unwrap().unwrap();
        shown.push(claim.read().unwrap());
        mailbox.shown(vec![claim]).unwrap();
    }
    assert_eq!(shown, [mail(2), mail(3), other(3)]);
    assert!(mailbox.unseen().unwrap().is_empty());
}

#[test]
fn what_a_crash_left_above_a_mark_counts_in_no_later_round() {
    let (_folder, mut mailbox) = mailbox();
    login(&mut mailbox, row(0, 0), 1);
    mailbox.store_live(&[mail(1), mail(2)]).unwrap();
    let marks = mailbox.read_marks().unwrap();
    mailbox.write_mails(&[&mail(3)], &marks).unwrap();
    assert_eq!(login(&mut mailbox, row(1, 1), 1), Some(Back::Older));
    let page = [other(2), mail(3)];
    mailbox.store_page(&piece(1, 3, &page)).unwrap();
    assert_eq!(
        mailbox.unseen().unwrap(),
        [(10, LOG), (20, LOG), (20, LOG), (30, LOG)]
    );
}

#[test]
fn a_session_of_before_stores_nothing_in_a_later_round() {
    let (folder, mut mailbox) = mailbox();
    login(&mut mailbox, row(0, 0), 1);
    mailbox.store_live(&[mail(1), mail(2)]).unwrap();
    let mut other = Mailbox::open(folder.path(), "srv").unwrap();
    let seen = mailbox.seen().unwrap();
    assert_eq!(login(&mut other, row(1, 1), 1), Some(Back::Older));
    assert!(mailbox.store_live(&[mail(3)]).unwrap().is_empty());
    let late = mailbox.store_page(&piece(0, 3, &[mail(3)])).unwrap();
    assert_eq!(late, Stored::Elsewhere(mark(1)));
    // It finds the same, by what it knew, and begins no round of its own.
    let rows = [row(1, 1)];
    let back = mailbox.is_back(&rows, 1, &seen);
    assert!(mailbox.enter(&rows, 1, back, &seen).unwrap());
    assert_eq!(mailbox.read_marks().unwrap().round, 1);
    assert_eq!(mailbox.store_live(&[mail(2)]).unwrap().len(), 1);
}

#[test]
fn a_missing_file_is_no_proof_and_another_mail_is() {
    let (folder, mut mailbox) = mailbox();
    login(&mut mailbox, row(0, 0), 1);
    mailbox.store_live(&[mail(1), mail(2), mail(3)]).unwrap();
    let seen = mailbox.seen().unwrap();
    fs::remove_file(folder.path().join("mail/new").join(name_of(name(2)))).unwrap();
    let contradicts =
        |mailbox: &Mailbox, mail: &Mail, seen: &Seen| mailbox.contradicts(&[mail], seen).unwrap();
    assert!(
        !contradicts(&mailbox, &mail(2), &seen),
        "stored and removed"
    );
    assert!(contradicts(&mailbox, &other(2), &seen));
    assert!(contradicts(&mailbox, &other(1), &seen));
    // Acknowledged, and the next store forgets what it was.
    mailbox.acknowledged(&[(LOG, 30)], &seen);
    mailbox.store_live(&[mail(4)]).unwrap();
    let seen = mailbox.seen().unwrap();
    assert_eq!(seen.0.logs[&LOG].pending.len(), 1);
    assert!(
        contradicts(&mailbox, &mail(2), &seen),
        "the cursor went back"
    );
    // A rewind explains that they come again, not that they are others.
    mailbox.will_rewind("news").unwrap();
    for seen in [seen, mailbox.seen().unwrap()] {
        assert!(!contradicts(&mailbox, &mail(2), &seen));
        assert!(contradicts(&mailbox, &other(3), &seen));
    }
}

#[test]
fn an_acknowledgement_of_before_a_rewind_does_not_count_after_it() {
    let (_folder, mut mailbox) = mailbox();
    mailbox.store_live(&[mail(1), mail(2)]).unwrap();
    let seen = mailbox.seen().unwrap();
    mailbox.acknowledged(&[(LOG, 20)], &seen);
    mailbox.will_rewind("news").unwrap();
    mailbox.rewind(LOG, mark(0)).unwrap();
    mailbox.store_page(&piece(0, 1, &[mail(1)])).unwrap();
    mailbox.store_page(&piece(1, 2, &[mail(2)])).unwrap();
    let marks = mailbox.read_marks().unwrap();
    assert_eq!(marks.logs[&LOG].pending.len(), 2);
}

#[test]
fn a_restored_server_says_so_and_its_marks_count() {
    let (_folder, mut mailbox) = mailbox();
    login(&mut mailbox, row(0, 0), 1);
    mailbox.store_live(&[mail(1), mail(2)]).unwrap();
    assert_eq!(login(&mut mailbox, row(1, 1), 2), Some(Back::Restored));
    assert_eq!(mailbox.marks().unwrap()[&LOG], mark(1));
    assert_eq!(login(&mut mailbox, row(1, 1), 2), None);
    mailbox.meet(&[info(9, 30)]).unwrap();
    assert_eq!(
        mailbox.marks().unwrap()[&9].id,
        30,
        "a new log starts at its cursor"
    );
}

#[test]
fn a_full_disk_is_named_and_moves_no_mark() {
    let (folder, mailbox) = mailbox();
    let error = failed("write", folder.path())(ErrorKind::StorageFull.into());
    assert!(matches!(error, FileError::Full { .. }));
    // Stands for a disk that refuses: the place of the file is taken by a folder.
    fs::create_dir(folder.path().join("mail/tmp").join(name_of(name(2)))).unwrap();
    assert!(mailbox.store_live(&[mail(1), mail(2)]).is_err());
    assert_eq!(mailbox.marks().unwrap()[&LOG].id, 0);
    assert!(mailbox.unseen().unwrap().is_empty());
}

#[derive(Debug, Clone)]
enum Step {
    /// A notice of this mail arrives.
    Live(u64),
    /// A page from the mark (or from behind it) arrives.
    Page { back: u64, mails: u64 },
    /// A crash after the files were renamed and before the mark moved.
    Crash(u64),
    /// Somebody reads.
    Show,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => (1_u64..12).prop_map(Step::Live),
        2 => (0_u64..3, 0_u64..5).prop_map(|(back, mails)| Step::Page { back, mails }),
        1 => (1_u64..4).prop_map(Step::Crash),
        1 => Just(Step::Show),
    ];
    prop::collection::vec(step, 1..14)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// P3: in whatever way twelve mails come, each is stored and shown once, in order.
    #[test]
    fn p03_any_interleaving_stores_each_mail_once_in_order(steps in steps()) {
        let (_folder, mailbox) = mailbox();
        let mut shown = Vec::new();
        let at = |mailbox: &Mailbox| mailbox.marks().unwrap()[&LOG].id / 10;
        for step in steps {
            match step {
                Step::Live(n) => drop(mailbox.store_live(&[mail(n)]).unwrap()),
                Step::Page { back, mails } => {
                    let after = at(&mailbox).saturating_sub(back);
                    let through = (after + mails).min(12);
                    let page: Vec<Mail> = (after + 1..=through).map(mail).collect();
                    mailbox.store_page(&piece(after, through, &page)).unwrap();
                }
                Step::Crash(count) => {
                    let from = at(&mailbox) + 1;
                    let page: Vec<Mail> = (from..(from + count).min(13)).map(mail).collect();
                    let marks = mailbox.read_marks().unwrap();
                    mailbox.write_mails(&page.iter().collect::<Vec<_>>(), &marks).unwrap();
                }
                Step::Show => shown.extend(show(&mailbox)),
            }
        }
        let after = at(&mailbox);
        let rest: Vec<Mail> = (after + 1..=12).map(mail).collect();
        mailbox.store_page(&piece(after, 12, &rest)).unwrap();
        shown.extend(show(&mailbox));
        prop_assert_eq!(shown, (1..=12).collect::<Vec<u64>>());
    }
}

/// What mutt, aerc or notmuch do to a mail: renames it in `cur/` with these flags.
fn flag_outside(folder: &tempfile::TempDir, n: u64, flags: &str) {
    let at = |file: String| folder.path().join("mail").join(file);
    let base = name_of(name(n));
    let from = [format!("new/{base}"), format!("cur/{base}:2,")]
        .map(at)
        .into_iter()
        .find(|path| path.exists())
        .expect("the mail is there, without flags");
    fs::rename(from, at(format!("cur/{base}:2,{flags}"))).unwrap();
}

fn names_in_cur(folder: &tempfile::TempDir) -> Vec<String> {
    let mut names: Vec<String> = files::names(&folder.path().join("mail/cur"))
        .unwrap()
        .collect();
    names.sort();
    names
}

#[test]
fn what_other_programs_say_of_a_mail_holds() {
    let (folder, mailbox) = mailbox();
    mailbox
        .store_live(&[mail(1), mail(2), mail(3), mail(4), mail(5)])
        .unwrap();
    flag_outside(&folder, 1, "S"); // read
    flag_outside(&folder, 2, ""); // seen in a list only
    flag_outside(&folder, 3, "T"); // thrown away
    flag_outside(&folder, 4, "FRa"); // starred, answered, a keyword, and not read
    assert_eq!(show(&mailbox), [2, 4, 5]);
    assert_eq!(mailbox.get(30).unwrap(), None, "it is in the trash");
    assert_eq!(mailbox.get(10).unwrap(), Some(mail(1)));
    let names = names_in_cur(&folder);
    assert!(names[3].ends_with(":2,FRSa"), "{names:?}");
}

#[test]
fn p02_flags_and_removals_of_others_are_no_proof_against_the_server() {
    let (folder, mailbox) = mailbox();
    mailbox
        .store_live(&[mail(1), mail(2), mail(3), mail(4)])
        .unwrap();
    flag_outside(&folder, 1, "FS");
    flag_outside(&folder, 2, "T");
    fs::remove_file(folder.path().join("mail/new").join(name_of(name(3)))).unwrap();
    let seen = mailbox.seen().unwrap();
    let again = [mail(1), mail(2), mail(3), mail(4)];
    let fetched: Vec<&Mail> = again.iter().collect();
    assert!(!mailbox.contradicts(&fetched, &seen).unwrap());
    // And a rewind stores nothing twice that is here, in the trash or not.
    mailbox.will_rewind("news").unwrap();
    mailbox.rewind(LOG, mark(0)).unwrap();
    mailbox.store_page(&piece(0, 4, &again)).unwrap();
    assert_eq!(show(&mailbox), [3, 4]);
    assert_eq!(trashed(&mailbox), [20]);
}

#[test]
fn a_renamed_mail_is_found_again() {
    let (folder, mailbox) = mailbox();
    mailbox.store_live(&[mail(1), mail(2)]).unwrap();
    let base = name_of(name(1));
    let at = |file: String| folder.path().join("mail").join(file);
    // As mbsync names what it has seen.
    fs::rename(
        at(format!("new/{base}")),
        at(format!("cur/{base},U=7:2,PZ")),
    )
    .unwrap();
    assert_eq!(show(&mailbox), [1, 2]);
    assert!(names_in_cur(&folder).contains(&format!("{base},U=7:2,PSZ")));
    assert_eq!(mailbox.get(10).unwrap(), Some(mail(1)));
}

fn held(mailbox: &Mailbox, ids: &[MailId]) -> Vec<Held> {
    let one = |id: &MailId| {
        mailbox
            .those_called(&Called::Number(*id))
            .unwrap()
            .remove(0)
    };
    ids.iter().map(one).collect()
}

fn trash(mailbox: &Mailbox, ids: &[MailId], at: &str) {
    mailbox.trash(&held(mailbox, ids), at).unwrap();
}

fn numbers(called: Vec<Called>) -> Vec<MailId> {
    let number = |called| match called {
        Called::Number(id) => id,
        Called::Imported(..) => unreachable!("nothing was imported"),
    };
    called.into_iter().map(number).collect()
}

fn trashed(mailbox: &Mailbox) -> Vec<MailId> {
    let trashed = mailbox.trashed().unwrap();
    numbers(trashed.iter().map(|held| held.called().clone()).collect())
}

fn untrash(mailbox: &Mailbox) -> Vec<MailId> {
    numbers(mailbox.untrash().unwrap())
}

#[test]
fn the_trash_is_taken_back_deed_by_deed() {
    let (folder, mailbox) = mailbox();
    mailbox.store_live(&[mail(1), mail(2), mail(3)]).unwrap();
    mailbox
        .shown(vec![mailbox.claim(10, LOG).unwrap().unwrap()])
        .unwrap();
    trash(&mailbox, &[10, 20], "t1");
    trash(&mailbox, &[30], "t2");
    assert_eq!(trashed(&mailbox), [10, 20, 30]);
    assert!(mailbox.unseen().unwrap().is_empty());
    assert_eq!(mailbox.get(10).unwrap(), None);
    assert_eq!(mailbox.last_trashed().unwrap().as_deref(), Some("t2"));
    assert_eq!(untrash(&mailbox), [30]);
    assert_eq!(untrash(&mailbox), [10, 20]);
    assert!(untrash(&mailbox).is_empty());
    assert_eq!(show(&mailbox), [2, 3], "10 was read before");
    // What another program took out of the trash, or removed, is left alone.
    trash(&mailbox, &[10, 20], "t4");
    let base = name_of(name(1));
    let cur = folder.path().join("mail/cur");
    fs::rename(
        cur.join(format!("{base}:2,ST")),
        cur.join(format!("{base}:2,S")),
    )
    .unwrap();
    assert_eq!(untrash(&mailbox), [20]);
}

#[test]
fn what_is_purged_is_gone() {
    let (folder, mailbox) = mailbox();
    mailbox.store_live(&[mail(1), mail(2)]).unwrap();
    let both = held(&mailbox, &[10, 20]);
    trash(&mailbox, &[10], "t");
    mailbox.purge(&both).unwrap();
    assert!(untrash(&mailbox).is_empty());
    assert!(names_in_cur(&folder).is_empty());
    // The server's marks know nothing of it.
    assert_eq!(mailbox.marks().unwrap()[&LOG], mark(2));
}

/// A crash after any step of throwing away: what was touched can be taken back.
#[test]
fn a_crash_while_throwing_away_can_be_taken_back() {
    let (folder, mailbox) = mailbox();
    mailbox.store_live(&[mail(1), mail(2)]).unwrap();
    trash(&mailbox, &[10, 20], "t");
    // The second was not flagged any more.
    let cur = folder.path().join("mail/cur");
    let base = name_of(name(2));
    fs::rename(
        cur.join(format!("{base}:2,T")),
        folder.path().join("mail/new").join(&base),
    )
    .unwrap();
    assert_eq!(untrash(&mailbox), [10]);
    assert_eq!(show(&mailbox), [1, 2]);
}

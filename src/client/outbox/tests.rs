//! Tests of the outbox: what a crash between any two steps leaves.

use super::*;

fn outbox() -> (tempfile::TempDir, Outbox) {
    let folder = tempfile::tempdir().unwrap();
    let outbox = Outbox::open(folder.path()).unwrap();
    (folder, outbox)
}

fn with_stream(stream: u64) -> (tempfile::TempDir, Outbox) {
    let (folder, outbox) = outbox();
    assert_eq!(outbox.adopt_stream(None, stream).unwrap(), stream);
    (folder, outbox)
}

fn draft(body: &str) -> Draft {
    Draft {
        to: vec!["bob".to_owned()],
        subject: "a\nb".to_owned(),
        content_type: "text/plain".to_owned(),
        ttl_s: Some(5),
        body: body.as_bytes().to_vec(),
        answers: Some(Answers {
            in_reply_to: 30,
            thread: 12,
        }),
    }
}

fn numbers(claimed: &Claimed) -> (u64, u64) {
    let number = claimed.number().unwrap();
    (number.number, number.settled_below)
}

#[test]
fn numbers_rise_and_settled_is_what_has_no_entry() {
    let (_folder, outbox) = with_stream(7);
    let one = outbox.enqueue(draft("1")).unwrap();
    let two = outbox.enqueue(draft("2")).unwrap();
    assert_eq!((numbers(&one), numbers(&two)), ((1, 1), (2, 1)));
    outbox.settle(one).unwrap();
    let three = outbox.enqueue(draft("3")).unwrap();
    assert_eq!(numbers(&three), (3, 2));
    outbox.settle(two).unwrap();
    outbox.settle(three).unwrap();
    assert_eq!(numbers(&outbox.enqueue(draft("4")).unwrap()), (4, 4));
}

#[test]
fn what_a_dead_process_left_is_claimed_by_one() {
    let (folder, outbox) = with_stream(7);
    let left = outbox.enqueue(draft("body\nwith lines\n")).unwrap();
    let other = Outbox::open(folder.path()).unwrap();
    assert!(
        other.claim(left.entry).unwrap().is_none(),
        "its owner lives"
    );
    assert!(other.list().unwrap()[0].busy);
    let entry = left.entry;
    drop(left); // as when the process dies: the lock goes, the file stays
    assert_eq!(other.pending_retries().unwrap(), [entry]);
    let claimed = other.claim(entry).unwrap().unwrap();
    assert!(
        outbox.claim(entry).unwrap().is_none(),
        "one claim at a time"
    );
    assert_eq!(claimed.draft, draft("body\nwith lines\n"));
    assert_eq!(numbers(&claimed), (1, 1));
    other.settle(claimed).unwrap();
    assert!(outbox.list().unwrap().is_empty());
}

#[test]
fn drafts_use_no_number_until_they_are_sent() {
    let (_folder, outbox) = outbox();
    let entry = outbox.keep(&draft("d"), false).unwrap();
    let queued = outbox.keep(&draft("q"), true).unwrap();
    assert_eq!(outbox.queued().unwrap(), [queued]);
    assert_eq!(outbox.drafts().unwrap(), [entry]);
    assert_eq!(outbox.unsent().unwrap(), [queued]);
    assert!(outbox.pending_retries().unwrap().is_empty());
    outbox.adopt_stream(None, 3).unwrap();
    let claimed = outbox.claim(entry).unwrap().unwrap();
    let promoted = outbox.promote(claimed).unwrap();
    assert_eq!((promoted.entry, numbers(&promoted)), (entry, (1, 1)));
    assert_eq!(outbox.demote(promoted, &Standing::Draft).unwrap(), entry);
    assert_eq!(outbox.list().unwrap()[0].standing, Standing::Draft);
    let next = outbox.enqueue(draft("next")).unwrap();
    assert_eq!(numbers(&next), (2, 2), "a number is never given out twice");
    assert!(outbox.remove(entry).unwrap());
    assert!(!outbox.remove(entry).unwrap());
}

#[test]
fn a_new_stream_starts_over_and_strands_the_old_entries() {
    let (_folder, outbox) = with_stream(7);
    let old = outbox.enqueue(draft("old")).unwrap();
    assert_eq!(outbox.adopt_stream(Some(7), 7).unwrap(), 7);
    assert_eq!(outbox.adopt_stream(Some(7), 9).unwrap(), 9);
    assert_eq!(
        outbox.adopt_stream(Some(7), 10).unwrap(),
        9,
        "another process was first"
    );
    assert_eq!(numbers(&outbox.enqueue(draft("new")).unwrap()), (1, 1));
    let entry = outbox.lose(old).unwrap();
    let lost = Standing::Lost {
        stream: 7,
        number: 1,
    };
    let listed = outbox.list().unwrap();
    assert_eq!((listed[0].entry, listed[0].standing), (entry, lost));
    assert!(!outbox.pending_retries().unwrap().contains(&entry));
}

/// Whatever a crash leaves of the names: no number is given out twice.
#[test]
fn p03_a_crash_between_the_renames_reuses_no_number() {
    let (folder, outbox) = with_stream(7);
    let first = outbox.enqueue(draft("1")).unwrap();
    let (entry, path) = (first.entry, first.path.clone());
    let bytes = fs::read(&path).unwrap();
    outbox.settle(first).unwrap();
    // The rename of settling was not on disk yet: the entry is back, and tried again.
    let done = fs::read_dir(folder.path().join("outbox"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains(".done-"))
        .unwrap();
    fs::remove_file(done).unwrap();
    fs::write(&path, bytes).unwrap();
    let again = outbox.claim(entry).unwrap().unwrap();
    assert_eq!(numbers(&again), (1, 1));
    // Settled once more while a younger one is open: the younger one remembers the count.
    let second = outbox.enqueue(draft("2")).unwrap();
    assert_eq!(numbers(&second), (2, 1));
    outbox.settle(again).unwrap();
    outbox.settle(second).unwrap();
    assert_eq!(numbers(&outbox.enqueue(draft("3")).unwrap()), (3, 3));
}

#[test]
fn what_a_killed_process_was_writing_is_swept_away() {
    let (folder, outbox) = with_stream(7);
    let aside = folder.path().join("outbox/4194304-0.aside");
    fs::write(&aside, "half an entr").unwrap();
    assert!(outbox.pending_retries().unwrap().is_empty());
    assert!(!aside.exists());
}

#[test]
fn the_folder_does_not_grow_with_what_was_sent() {
    let (folder, outbox) = with_stream(7);
    for _ in 0..20 {
        let one = outbox.enqueue(draft("1")).unwrap();
        let two = outbox.enqueue(draft("2")).unwrap();
        outbox.settle(one).unwrap();
        outbox.settle(two).unwrap();
    }
    let draft = outbox.keep(&draft("d"), false).unwrap();
    assert!(outbox.remove(draft).unwrap());
    let left = fs::read_dir(folder.path().join("outbox")).unwrap().count();
    assert!(
        left <= 3,
        "{left} files: the stream and the memory of the counts"
    );
}

#[test]
fn a_file_cut_short_is_said_and_never_sent() {
    let (folder, outbox) = with_stream(7);
    let claimed = outbox.enqueue(draft("a body")).unwrap();
    let (path, entry) = (claimed.path.clone(), claimed.entry);
    drop(claimed);
    let bytes = fs::read(&path).unwrap();
    fs::write(&path, &bytes[..bytes.len() - 1]).unwrap();
    assert!(matches!(
        outbox.claim(entry),
        Err(FileError::Damaged { .. })
    ));
    drop(folder);
}

#[test]
fn many_at_once_get_numbers_of_their_own() {
    let (folder, _outbox) = with_stream(7);
    let given = std::sync::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let outbox = Outbox::open(folder.path()).unwrap();
                for _ in 0..5 {
                    let claimed = outbox.enqueue(draft("x")).unwrap();
                    let (number, settled_below) = numbers(&claimed);
                    assert!(settled_below <= number);
                    given.lock().unwrap().push(number);
                    outbox.settle(claimed).unwrap();
                }
            });
        }
    });
    let mut given = given.into_inner().unwrap();
    given.sort_unstable();
    assert_eq!(given, (1..=40).collect::<Vec<u64>>());
}

fn held(since_ms: i64, until_ms: i64) -> Standing {
    Standing::Held { since_ms, until_ms }
}

#[test]
fn what_waits_for_a_time_is_due_then_and_not_before() {
    let (_folder, outbox) = with_stream(7);
    let later = outbox
        .keep_until(&draft("later"), Standing::Scheduled(2_000))
        .unwrap();
    let soon = outbox
        .keep_until(&draft("soon"), Standing::Scheduled(1_000))
        .unwrap();
    let back = outbox.keep_until(&draft("back"), held(500, 1_500)).unwrap();
    assert!(outbox.due(999).unwrap().is_empty());
    assert_eq!(outbox.due(1_000).unwrap(), [soon]);
    assert_eq!(outbox.due(2_000).unwrap(), [later, soon, back]);
    assert!(outbox.drafts().unwrap().is_empty() && outbox.queued().unwrap().is_empty());
    let listed = outbox.list().unwrap();
    let standings: Vec<Standing> = listed.iter().map(|entry| entry.standing).collect();
    assert_eq!(
        standings,
        [
            Standing::Scheduled(2_000),
            Standing::Scheduled(1_000),
            held(500, 1_500)
        ]
    );
    // Numbered like any other, under a name that says no time any more: it goes out once.
    let claimed = outbox.claim(soon).unwrap().unwrap();
    let claimed = outbox.promote(claimed).unwrap();
    assert_eq!(claimed.number().unwrap().number, 1);
    assert!(outbox.due(1_000).unwrap().is_empty());
    drop(claimed); // killed
    assert_eq!(outbox.pending_retries().unwrap(), [soon]);
    assert!(outbox.remove(later).unwrap());
    assert!(outbox.claim(later).unwrap().is_none());
}

#[test]
fn the_last_one_held_is_taken_back_and_nothing_else() {
    let (_folder, outbox) = with_stream(7);
    assert_eq!(outbox.take_back(0).unwrap(), TakenBack::Nothing);
    outbox
        .keep_until(&draft("scheduled"), Standing::Scheduled(9_000))
        .unwrap();
    let first = outbox
        .keep_until(&draft("first"), held(1_000, 5_000))
        .unwrap();
    let last = outbox
        .keep_until(&draft("last"), held(1_100, 5_100))
        .unwrap();
    let to = draft("").to;
    let back = TakenBack::Draft { entry: last, to };
    assert_eq!(outbox.take_back(2_000).unwrap(), back);
    assert_eq!(outbox.drafts().unwrap(), [last]);
    assert_eq!(outbox.held(2_000).unwrap(), Some((first, 1_000)));
    assert_eq!(
        outbox.take_back(5_000).unwrap(),
        TakenBack::Nothing,
        "its time is over"
    );
    let sending = outbox.claim(first).unwrap().unwrap();
    assert_eq!(
        outbox.take_back(2_000).unwrap(),
        TakenBack::TooLate { entry: first }
    );
    drop(outbox.promote(sending).unwrap());
    assert_eq!(
        outbox.take_back_entry(first).unwrap(),
        TakenBack::TooLate { entry: first }
    );
    assert_eq!(outbox.pending_retries().unwrap(), [first]);
}

#[test]
fn a_draft_is_replaced_as_a_whole() {
    let (_folder, outbox) = with_stream(7);
    let entry = outbox.keep(&draft("old"), false).unwrap();
    let claimed = outbox.claim(entry).unwrap().unwrap();
    assert_eq!(outbox.replace(claimed, &draft("new")).unwrap(), entry);
    let claimed = outbox.claim(entry).unwrap().unwrap();
    assert_eq!(
        (claimed.draft, claimed.standing),
        (draft("new"), Standing::Draft)
    );
    assert_eq!(outbox.list().unwrap().len(), 1);
}

fn refusal(address: &str) -> Refusal {
    Refusal {
        address: address.to_owned(),
        error: WireError::new(
            crate::protocol::codes::Code::NoSuchAddress,
            "nobody here is called that",
        ),
    }
}

/// Every file of the outbox, with its bytes.
fn picture(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = fs::read_dir(folder.join("outbox")).unwrap();
    let files = files.map(|entry| entry.unwrap().path());
    files
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect()
}

fn put_back(folder: &Path, picture: &[(PathBuf, Vec<u8>)]) {
    for (path, _) in self::picture(folder) {
        fs::remove_file(path).unwrap();
    }
    for (path, bytes) in picture {
        fs::write(path, bytes).unwrap();
    }
}

#[test]
fn what_is_refused_is_a_draft_for_those_who_refused_it() {
    let (_folder, outbox) = with_stream(7);
    let both = Draft {
        to: vec!["bob".to_owned(), "bbo".to_owned()],
        ..draft("text")
    };
    let claimed = outbox.enqueue(both.clone()).unwrap();
    let entry = claimed.entry;
    assert_eq!(
        outbox.keep_refused(claimed, &[refusal("bbo")]).unwrap(),
        entry
    );
    let listed = outbox.list().unwrap();
    assert_eq!(
        (listed[0].standing, listed[0].refused.as_slice()),
        (Standing::Draft, [refusal("bbo")].as_slice())
    );
    assert_eq!((listed.len(), listed[0].busy), (1, false));
    assert!(outbox.pending_retries().unwrap().is_empty());
    let next = outbox.enqueue(draft("next")).unwrap();
    assert_eq!(numbers(&next), (2, 2), "its number is used, and settled");
    let kept = outbox.claim(entry).unwrap().unwrap();
    let wanted = Draft {
        to: vec!["bbo".to_owned()],
        ..both
    };
    assert_eq!(kept.draft, wanted);
    // Who changes it has answered the refusal.
    outbox.replace(kept, &wanted).unwrap();
    assert!(outbox.list().unwrap()[0].refused.is_empty());
}

/// Wherever a kill cuts the keeping off: the text is there, the number is retried or settled, and nothing is an entry twice.
#[test]
fn p02_p03_a_refused_send_is_kept_whatever_is_cut_off() {
    let (folder, outbox) = with_stream(7);
    let claimed = outbox.enqueue(draft("text")).unwrap();
    let (entry, numbered) = (claimed.entry, claimed.path.clone());
    let before = picture(folder.path());
    outbox.keep_refused(claimed, &[refusal("bob")]).unwrap();
    let after = picture(folder.path());
    // Both are there: the draft has its name, and the numbered file has not gone.
    let mut between = after.clone();
    between.retain(|(path, _)| !path.to_string_lossy().contains(".done-"));
    between.extend(before.iter().filter(|(path, _)| *path == numbered).cloned());
    for (picture, is_open) in [(&before, true), (&between, true), (&after, false)] {
        put_back(folder.path(), picture);
        let again = Outbox::open(folder.path()).unwrap();
        let listed = again.list().unwrap();
        assert_eq!(listed.len(), 1, "{listed:?}");
        assert_eq!(
            again.pending_retries().unwrap(),
            if is_open { vec![entry] } else { vec![] }
        );
        let claimed = again.claim(entry).unwrap().unwrap();
        assert_eq!(claimed.draft.body, b"text");
        assert_eq!(claimed.number().is_some(), is_open);
        if is_open {
            assert_eq!(numbers(&claimed), (1, 1), "its own number, not settled");
            again.keep_refused(claimed, &[refusal("bob")]).unwrap();
        } else {
            drop(claimed);
        }
        assert_eq!(again.list().unwrap()[0].standing, Standing::Draft);
        let next = again.enqueue(draft("next")).unwrap();
        assert_eq!(numbers(&next), (2, 2));
    }
}

/// A refusal for the moment leaves no record at the server, so that the retry after a kill may be taken in.
#[test]
fn p03_a_refused_send_that_was_taken_in_after_all_leaves_no_draft() {
    let (folder, outbox) = with_stream(7);
    let claimed = outbox.enqueue(draft("text")).unwrap();
    let (entry, numbered) = (claimed.entry, claimed.path.clone());
    let bytes = fs::read(&numbered).unwrap();
    outbox.keep_refused(claimed, &[refusal("bob")]).unwrap();
    fs::write(&numbered, bytes).unwrap();
    let again = Outbox::open(folder.path()).unwrap();
    again.settle(again.claim(entry).unwrap().unwrap()).unwrap();
    assert!(again.list().unwrap().is_empty());
}

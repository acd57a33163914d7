//! Random changes that must leave both engines alike.

use std::collections::{HashMap, VecDeque};

use proptest::prelude::*;

use super::*;

/// What a random run does next; logs are 1 and 2.
#[derive(Debug, Clone)]
enum Step {
    Append { log: u64, size: usize, ttl: bool },
    Expire { log: u64, back: u64 },
    Trim { log: u64 },
    Cursor { device: u64, log: u64 },
    Subscribe { user: u64, on: bool },
    Block { user: u64, on: bool },
    Invite { chat: u8, state: u8 },
    Commit,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let size = prop_oneof![0..600usize, 3000..9000usize, 60_000..70_000usize];
    prop_oneof![
        8 => (1..3u64, size, any::<bool>())
            .prop_map(|(log, size, ttl)| Step::Append { log, size, ttl }),
        2 => (1..3u64, 0..9u64).prop_map(|(log, back)| Step::Expire { log, back }),
        3 => (1..3u64).prop_map(|log| Step::Trim { log }),
        2 => (1..4u64, 1..3u64).prop_map(|(device, log)| Step::Cursor { device, log }),
        1 => (1..4u64, any::<bool>()).prop_map(|(user, on)| Step::Subscribe { user, on }),
        1 => (1..4u64, any::<bool>()).prop_map(|(user, on)| Step::Block { user, on }),
        2 => (0..4u8, 0..4u8).prop_map(|(chat, state)| Step::Invite { chat, state }),
        3 => Just(Step::Commit),
        1 => Just(Step::Reopen),
    ]
}

/// Just enough of a broker to make changes that belong together.
#[derive(Default)]
struct Writer {
    last: MailId,
    logs: HashMap<LogNumber, Kept>,
}

#[derive(Default)]
struct Kept {
    totals: LogRecord,
    mails: VecDeque<Mark>,
}

impl Writer {
    fn changes(&mut self, step: &Step) -> Vec<Change> {
        match *step {
            Step::Append { log, size, ttl } => self.append(log, size, ttl),
            Step::Expire { log, back } => {
                let id = self.last.saturating_sub(back);
                vec![Change::ExpireMail { log, id }]
            }
            Step::Trim { log } => self.trim(log),
            Step::Cursor { device, log } => {
                let mark = self.kept(log).totals.head;
                vec![Change::PutCursor { device, log, mark }]
            }
            Step::Subscribe { user, on } => {
                let pattern = "news".to_owned();
                vec![if on {
                    Change::PutSubscription(SubscriptionRecord {
                        user,
                        pattern,
                        since: self.last,
                    })
                } else {
                    Change::RemoveSubscription { user, pattern }
                }]
            }
            Step::Block { user, on } => {
                let record = BlockRecord { user, blocked: 9 };
                vec![if on {
                    Change::PutBlock(record)
                } else {
                    Change::RemoveBlock(record)
                }]
            }
            Step::Invite { chat, state } => vec![invite([chat; 16], state)],
            Step::Commit | Step::Reopen => vec![],
        }
    }

    fn append(&mut self, log: u64, size: usize, ttl: bool) -> Vec<Change> {
        self.last += 1;
        let head = self.kept(log).totals.head;
        let mut record = envelope(head.id, head.count + 1, head.bytes + size as u64, size);
        record.expires_at_ms = ttl.then_some(self.last.cast_signed() * 10);
        let mark = record.mark(self.last);
        self.kept(log).totals.head = mark;
        self.kept(log).mails.push_back(mark);
        vec![
            Change::AppendMail {
                log,
                id: self.last,
                record,
                body: body(size),
            },
            self.totals(log),
            Change::PutMailCounters(MailCounters {
                mail: self.last,
                stream: 0,
            }),
        ]
    }

    fn trim(&mut self, log: u64) -> Vec<Change> {
        let Some(oldest) = self.kept(log).mails.pop_front() else {
            return vec![];
        };
        self.kept(log).totals.floor = oldest;
        let id = oldest.id;
        vec![Change::RemoveMail { log, id }, self.totals(log)]
    }

    fn totals(&mut self, log: u64) -> Change {
        let record = self.kept(log).totals;
        Change::PutLog { log, record }
    }

    fn kept(&mut self, log: LogNumber) -> &mut Kept {
        self.logs.entry(log).or_default()
    }
}

/// An invitation as it is made, answered, told of, and gone.
fn invite(chat: [u8; 16], step: u8) -> Change {
    let state = match step {
        0 => InvitationState::Open,
        1 => InvitationState::Accepted,
        2 => InvitationState::Expired,
        _ => return Change::RemoveInvitation(chat),
    };
    Change::PutInvitation(InvitationRecord {
        chat,
        from: 1,
        asker: side(1),
        to: 2,
        devices_through: 4,
        state,
        accepter: (step == 1).then(|| side(2)),
        asked_at_ms: 1,
        expires_at_ms: 2,
        seen: step == 2,
    })
}

fn queries(last: MailId) -> Vec<Query> {
    let mut queries = vec![Query::Expired {
        at_ms: i64::MAX,
        mails: 1000,
    }];
    for log in 1..3 {
        for id in [0, last / 2, last] {
            queries.push(Query::MarkAt { log, id });
            queries.push(Query::Body {
                log,
                id,
                offset: 3999,
                len: 5000,
            });
            queries.push(Query::Page {
                log,
                after: id,
                upto: last,
                mails: 5,
                bytes: 70_000,
            });
            queries.push(Query::Newest {
                log,
                before: id,
                upto: last,
                mails: 5,
                bytes: 70_000,
            });
            queries.push(Query::Oldest {
                log,
                after: id,
                mails: 5,
            });
        }
    }
    queries
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn engines_agree_on_random_changes(steps in prop::collection::vec(step(), 1..60)) {
        let mut memory = InMemory(Memory::new());
        let mut disk = OnDisk::new();
        let meta = memory.store().load().unwrap().meta;
        let mut writer = Writer::default();
        let counters = DirectoryCounters { epoch: 1, ..DirectoryCounters::default() };
        let mut gathered = vec![Change::PutMeta(meta), Change::PutDirectoryCounters(counters)];
        for step in steps.iter().chain([&Step::Commit]) {
            gathered.extend(writer.changes(step));
            if !matches!(step, Step::Commit | Step::Reopen) {
                continue;
            }
            memory.store().commit(&gathered).unwrap();
            disk.store().commit(&gathered).unwrap();
            gathered.clear();
            if matches!(step, Step::Reopen) {
                memory.reopen();
                disk.reopen();
            }
            prop_assert_eq!(memory.store().load().unwrap(), disk.store().load().unwrap());
            for query in queries(writer.last) {
                let answer = ask(&mut memory, &query);
                prop_assert_eq!(ask(&mut disk, &query), answer);
            }
        }
    }
}

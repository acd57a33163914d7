//! What lies between devices and server: frames are lost, late, repeated, overtake each other.

use std::collections::HashSet;

use super::device::{Device, Sends};
use super::{Arriving, Event, Sim, admin, judge};
use crate::broker::io::Output;
use crate::protocol::notice::{Notice, NoticeKey};
use crate::protocol::{LogNumber, PublicKey, reply};

/// What spies remember at most.
const KNOWN_MAX: usize = 24;

impl Sim {
    pub(super) fn send(&mut self, (device, conn, key): (usize, u64, PublicKey), sends: &Sends) {
        if self.is_cut(device) || self.rng.chance(self.weather.loss) {
            self.model.faults.lost += 1;
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.weather.repeats));
        self.model.faults.repeated += copies - 1;
        for _ in 0..copies {
            let delay = self.delay();
            let event = match sends.clone() {
                Sends::Request {
                    frames,
                    request,
                    said,
                } => Event::Request(Box::new(Arriving {
                    conn,
                    key,
                    frames,
                    request,
                    said,
                })),
                Sends::Subscribe(topic) => Event::Subscribe { conn, key, topic },
            };
            self.at(delay, event);
        }
    }

    pub(super) fn delay(&mut self) -> u64 {
        if self.rng.chance(self.weather.late) {
            self.model.faults.late += 1;
            return self.rng.below(5_000);
        }
        1 + self.rng.below(20)
    }

    /// Tells of the request being taken what the core decided on it: before anything is told of it.
    pub(super) fn look_again(&mut self) {
        let Some(handled) = self.taking.and_then(|place| self.waiting.get_mut(&place)) else {
            return;
        };
        if let Some(handled) = handled.back_mut() {
            let row = (handled.key, self.disk.last_pushed, handled.serial);
            let request = std::sync::Arc::clone(&handled.request);
            *handled = self.model.handled(&request, handled.said.take(), row);
        }
    }

    pub(super) fn tell_world(&mut self, told: Output, subscriber: Option<(u64, PublicKey)>) {
        match told {
            Output::Reply { routing, frames } => {
                let frames = frames.iter().map(|frame| frame.to_vec()).collect();
                self.reply(&routing, frames);
            }
            Output::Publish { key, header, body } => self.publish(key, &header, body.as_ref()),
            Output::Grant(granted) => {
                let (conn, key) = subscriber.expect("a grant answers a subscription");
                self.model.judge_grant(&key, granted);
                let row = self
                    .granted
                    .entry(conn)
                    .or_insert_with(|| (key, HashSet::default()));
                row.1.insert(granted);
            }
            Output::Cut => self.end_live(subscriber),
            Output::RenewLive => {
                self.granted.clear();
                self.live.clear();
            }
            _ => {}
        }
    }

    /// The server ends a live connection: what was granted to it is gone, and its device, if there is one, connects again.
    fn end_live(&mut self, subscriber: Option<(u64, PublicKey)>) {
        let (conn, _) = subscriber.expect("a cut answers a subscription");
        self.model.faults.cuts += 1;
        self.granted.remove(&conn);
        self.live.remove(&conn);
        if let Some(device) = self.conns.get(&conn).copied() {
            self.devices[device].live_ended();
        }
    }

    /// The server lets a reply go: from here on what it says must be true for good.
    fn reply(&mut self, routing: &[u8], frames: Vec<Vec<u8>>) {
        let conn = u64::from_be_bytes(routing.try_into().expect("routing ids are the simulator's"));
        let id = u64::from_be_bytes(frames[0].as_slice().try_into().expect("a number"));
        let waiting = self.waiting.get_mut(&(conn, id));
        let asked = waiting.and_then(|waiting| judge::take(waiting, &frames[1]));
        let asked = asked.expect("a reply answers a request, once");
        let synced = &self.disk.synced;
        assert!(
            asked.ticket <= self.disk.last_synced,
            "P1: {asked:?} was answered before its commit was on disk"
        );
        self.model.judge_reply(&asked, &frames, synced);
        if conn == admin::CONN {
            self.hand_over(&asked.request, &frames);
            return;
        }
        let device = self.conns.get(&conn).copied();
        if device.is_none_or(|device| self.is_cut(device)) || self.rng.chance(self.weather.loss) {
            self.model.faults.lost += 1;
            return;
        }
        let delay = self.delay();
        self.at(delay, Event::Reply { conn, frames });
    }

    /// The administrator passes a code on.
    fn hand_over(&mut self, request: &crate::protocol::request::Request, frames: &[Vec<u8>]) {
        let crate::protocol::request::Request::Invite(invite) = request else {
            return;
        };
        if let (Some(user), Ok(told)) = (&invite.user, reply::decode::<reply::Invited>(&frames[1]))
        {
            let codes = self.codes.entry(user.as_str().to_owned()).or_default();
            codes.push(told.code);
        }
    }

    pub(super) fn hear(&mut self, conn: u64, frames: &[Vec<u8>]) {
        let Some(index) = self.conns.get(&conn).copied() else {
            return;
        };
        let key = self.devices[index].key;
        let code = self.devices[index].hear(frames);
        if self.devices[index].key != key {
            // Another key needs another connection.
            let conn = self.connect(index);
            self.devices[index].reconnect(conn);
        }
        let device = &mut self.devices[index];
        if let Some(code) = code {
            self.codes
                .entry(device.user.clone())
                .or_default()
                .push(code);
        }
        let session = device.session.clone();
        let keys: Vec<NoticeKey> = device.wanted_keys.iter().copied().collect();
        for key in keys {
            remember(&mut self.keys, key);
        }
        if let Some(session) = session {
            remember(&mut self.sessions, session);
        }
    }

    fn publish(
        &mut self,
        key: NoticeKey,
        header: &std::sync::Arc<[u8]>,
        body: Option<&std::sync::Arc<[u8]>>,
    ) {
        let mut conns: Vec<(u64, PublicKey)> = self
            .granted
            .iter()
            .filter(|(_, (_, keys))| keys.contains(&key))
            .map(|(conn, (of, _))| (*conn, *of))
            .collect();
        conns.sort_unstable();
        let notice = Notice::decode(header).expect("the server's notices read");
        for (conn, of) in conns {
            let Some(device) = self.conns.get(&conn).copied() else {
                continue;
            };
            self.model
                .judge_notice(&of, &notice, body.map(|body| &body[..]), &self.disk.synced);
            let deaf = self.deaf_until_ms[device] > self.time_ms || self.is_cut(device);
            if deaf || self.rng.chance(self.weather.notices_lost) {
                self.model.faults.notices_lost += 1;
                continue;
            }
            let delay = self.delay();
            let event = Event::Notice {
                conn,
                header: header.clone(),
                body: body.cloned(),
            };
            self.at(delay, event);
        }
    }

    pub(super) fn notice(&mut self, conn: u64, header: &[u8], body: Option<&[u8]>) {
        if let Some(device) = self.conns.get(&conn) {
            let notice = Notice::decode(header).expect("the server's notices read");
            self.devices[*device].notice(notice, body);
        }
    }

    // -- the end --

    /// The server holds nothing for what is gone (P8).
    pub(super) fn take_stock(&self) {
        let (Some(core), decided) = (self.core.as_ref(), &self.model.decided) else {
            return;
        };
        for session in core.sessions.iter() {
            let row = decided.devices.get(&session.device);
            assert!(row.is_some(), "P8: a session of a device that is gone");
        }
        for key in core.granted.keys() {
            let known = decided.device_of(key).is_some();
            assert!(known, "P8: grants are kept for a key that is gone");
        }
        for lease in core
            .leases
            .lent()
            .filter(|lease| super::ledger::is_out(lease))
        {
            let here = core.sessions.get(&lease.session).is_some();
            assert!(here, "P8: {lease:?} is kept for a session that is gone");
        }
    }

    /// Everything healed: each device holds what was put in its logs since it began, once, or was told
    /// how many are gone.
    pub(super) fn judge_the_end(&self) {
        let decided = &self.model.decided;
        for device in &self.devices {
            let user = &device.user;
            assert_eq!(device.in_doubt, 0, "P3: {user}'s sends are in doubt");
            let Some((number, of)) = decided.device_of(&device.key) else {
                panic!("P2: {user}'s device is not known");
            };
            for log in decided.logs_of(of) {
                self.judge_log(device, (number, log));
            }
        }
    }

    fn judge_log(&self, device: &Device, (number, log): (u64, LogNumber)) {
        let decided = &self.model.decided;
        let (head, n) = decided.head(log);
        let cursor = decided.cursors.get(&(number, log)).copied();
        let Some(kept) = device.kept.get(&log) else {
            assert!(
                cursor.unwrap_or(0) >= head,
                "P10: {} never heard of {log}, which has {head} above {cursor:?}",
                device.user
            );
            return;
        };
        let name = &device.user;
        assert!(
            kept.mark.id >= head && kept.mark.n == n,
            "P2: {name} is at {:?} in {log}, which goes to {head}, {n}",
            kept.mark
        );
        // A late copy of a join may have rewound it after all.
        let name_of_log = decided.addresses.get(&log).map_or("", |a| a.name.as_str());
        let place = (number, name_of_log.to_owned());
        assert!(
            cursor >= Some(head) || self.model.rewinds.contains_key(&place),
            "P2: {name} acknowledged all of {log}, and its cursor is {cursor:?}"
        );
    }

    /// Tells what goes over the network, when one seed is replayed.
    pub(super) fn tell(&self, event: &Event) {
        if !self.telling {
            return;
        }
        let (arrow, conn, frame) = match event {
            Event::Request(arriving) => ('>', &arriving.conn, &arriving.frames[1][..]),
            Event::Reply { conn, frames } => ('<', conn, &frames[1][..]),
            Event::Notice { conn, header, .. } => ('n', conn, &header[..]),
            _ => return,
        };
        let (at, life) = (self.time_ms, self.life);
        let device = self
            .conns
            .get(conn)
            .map(|of| (*of, &self.devices[*of].user));
        let text = String::from_utf8_lossy(frame);
        println!("{at} life {life} {arrow} {device:?} by {conn}: {text}");
    }
}

fn remember<T: PartialEq>(known: &mut Vec<T>, new: T) {
    if known.contains(&new) {
        return;
    }
    if known.len() >= KNOWN_MAX {
        known.remove(0);
    }
    known.push(new);
}

//! The verbs about chats: ask, accept, decline, withdraw, list. The table is in `invitations`.
//!
//! The broker introduces two devices to each other and never carries their lines. An invitation stands
//! on the asker's lease: it ends with it. Each change of it is told to both users by notice and by
//! heartbeat; only the two sides of an accepted one ever learn where the other is, in the reply to the
//! one who accepts (docs/protocol.md, "Invitations").

use super::core::{Call, Core, Ruling, Who, done, session_key, told};
use super::host;
use super::invitations::{ChatKey, is_missed, is_open};
use super::leases::SessionKey;
use crate::limits;
use crate::protocol::codes::{Code, WireError, refusal};
use crate::protocol::notice::Notice;
use crate::protocol::reply::{ChatRow, ChatState};
use crate::protocol::{LogNumber, reply, request, time};
use crate::store::{ChatSide, InvitationRecord, InvitationState, LeaseState};

impl Core {
    // -- asking --

    /// Makes an invitation; or returns the one that the session made before; or accepts the one that
    /// the user asked has made to the caller.
    pub(super) fn chat_ask(&mut self, call: &Call, who: Who, ask: &request::ChatAsk) -> Ruling {
        let nonce = digest_of(ask.nonce.as_deref())?;
        let host = host::given(ask.host.as_deref())?;
        let to = self.live_user(&ask.user)?;
        if let Some(asked) = self.asked_before(who, to, nonce) {
            return Ok(told(&asked));
        }
        let side = self.side(call, who, host, nonce)?;
        if let Some(chat) = self.crossing(who, to) {
            return self.accept_by_asking(&chat, side);
        }
        self.may_ask(who, to)?;
        let record = self.invitation(call, who, to, side);
        let chat = record.chat;
        let due_ms = self.now.mono_ms + self.settings.invitation_ttl_ms;
        self.invitations.add(record, due_ms, &mut self.changes);
        self.make_room(to);
        self.tell_invitation(&chat);
        self.asked(&chat)
            .map(|asked| told(&asked))
            .ok_or_else(no_such_invitation)
    }

    /// Finds what this very ask was answered with, or an open invitation that would be the same.
    fn asked_before(&self, who: Who, to: LogNumber, nonce: [u8; 16]) -> Option<reply::Asked> {
        let is_same = |side: &ChatSide| side.session == who.session && side.nonce == nonce;
        let is_retry = |record: &&InvitationRecord| {
            let asked = record.from == who.user && record.to == to && is_same(&record.asker);
            let accepted = record.from == to && record.accepter.as_ref().is_some_and(is_same);
            nonce != [0; 16] && (asked || accepted)
        };
        let is_mine = |record: &&InvitationRecord| record.to == to && is_open(record);
        let known = self
            .invitations
            .of_user(who.user)
            .find(is_retry)
            .or_else(|| {
                let made = self.invitations.made_by(who.user, &who.session);
                made.into_iter().find(is_mine)
            })?;
        let mut asked = self.asked(&known.chat)?;
        if known.asker.session != who.session {
            asked.introduction = self.introduction(known);
        }
        Some(asked)
    }

    /// Finds an open invitation of the user asked that this device may accept.
    fn crossing(&self, who: Who, to: LogNumber) -> Option<ChatKey> {
        let open = self.invitations.open_to(who.user);
        open.filter(|record| record.from == to)
            .find(|record| may_accept(record, who.device).is_ok())
            .map(|record| record.chat)
    }

    fn accept_by_asking(&mut self, chat: &ChatKey, side: ChatSide) -> Ruling {
        let introduction = Some(self.take(chat, side)?);
        let asked = self.asked(chat).ok_or_else(no_such_invitation)?;
        Ok(told(&reply::Asked {
            introduction,
            ..asked
        }))
    }

    /// Says whether one more invitation may be made. A block is not told from any other reason to be
    /// busy.
    fn may_ask(&mut self, who: Who, to: LogNumber) -> Result<(), WireError> {
        if to == who.user && self.devices_asked(to, who.device, u64::MAX).is_empty() {
            return Err(refusal!(
                Code::Denied,
                "you have no other device to chat with; ask another user"
            ));
        }
        let made = self.invitations.of_user(who.user);
        let open = made.filter(|record| record.from == who.user && is_open(record));
        if open.count() >= limits::INVITATIONS_FROM_USER_MAX {
            return Err(refusal!(
                Code::LimitReached,
                "you have 16 invitations open; withdraw one or wait for an answer"
            ));
        }
        self.invitations
            .count_ask(who.user, self.now.mono_ms)
            .map_err(|wait_ms| {
                refusal!(
                    Code::Busy,
                    "you asked for 30 chats within a minute; wait a little"
                )
                .after_ms(wait_ms)
            })?;
        let is_full = !self.has_room(to, who.user);
        let has_device = self.directory.devices_of(to).next().is_some();
        if self.blocks.has(to, who.user) || is_full || !has_device {
            let name = self.directory.name_of(to);
            return Err(refusal!(
                Code::PeerBusy,
                "{} takes no chat now; try later, or send a mail",
                name
            ));
        }
        Ok(())
    }

    /// Says whether a user may be asked once more by this one. Nobody fills the places of all: some are
    /// kept for who has not asked yet.
    fn has_room(&self, to: LogNumber, asker: LogNumber) -> bool {
        let (mut open, mut own) = (0, 0);
        for record in self.invitations.open_to(to) {
            open += 1;
            own += usize::from(record.from == asker);
        }
        let reserved = if own == 0 {
            0
        } else {
            limits::INVITATIONS_RESERVED
        };
        own < limits::INVITATIONS_TO_ONE_MAX && open + reserved < limits::INVITATIONS_TO_USER_MAX
    }

    fn invitation(
        &self,
        call: &Call,
        who: Who,
        to: LogNumber,
        asker: ChatSide,
    ) -> InvitationRecord {
        let mut chat = ChatKey::default();
        chat.copy_from_slice(&call.random[16..]);
        let asked_at_ms = self.now.wall_ms;
        InvitationRecord {
            chat,
            from: who.user,
            asker,
            to,
            devices_through: self.directory.last_device(),
            state: InvitationState::Open,
            accepter: None,
            asked_at_ms,
            expires_at_ms: asked_at_ms.saturating_add_unsigned(self.settings.invitation_ttl_ms),
            seen: false,
        }
    }

    /// The caller's side of a chat: it stands on a lease that is bound.
    fn side(
        &self,
        call: &Call,
        who: Who,
        host: Option<&str>,
        nonce: [u8; 16],
    ) -> Result<ChatSide, WireError> {
        let lease = self.leases.of_session(&who.session);
        let held = lease.filter(|lease| lease.state == LeaseState::Held);
        let Some(lease) = held else {
            return Err(refusal!(
                Code::NoPort,
                "a chat needs a leased port that this session has bound and confirmed; ask \
                        for one (lease), bind it, confirm it (lease_confirm)"
            ));
        };
        let host = host.map_or_else(|| host::seen(&call.peer.address), str::to_owned);
        Ok(ChatSide {
            device: who.device,
            session: who.session,
            port: lease.port,
            epoch: lease.epoch,
            host,
            nonce,
        })
    }

    /// Describes an invitation to the session that made it.
    fn asked(&self, chat: &ChatKey) -> Option<reply::Asked> {
        let record = self.invitations.get(chat)?;
        Some(reply::Asked {
            row: self.chat_row(record),
            ttl_ms: self.invitations.left_ms(chat, self.now.mono_ms),
            devices: self.devices_asked(record.to, record.asker.device, record.devices_through),
            introduction: None,
            durability: "fsync".into(),
        })
    }

    /// Returns the devices of a user that may accept.
    fn devices_asked(&self, to: LogNumber, asker: u64, through: u64) -> Vec<reply::ChatDevice> {
        let numbers = self.directory.devices_of(to);
        numbers
            .filter(|number| *number != asker && *number <= through)
            .filter_map(|number| self.directory.device(number))
            .map(|device| reply::ChatDevice {
                device: device.number,
                key: hex::encode(device.key),
            })
            .collect()
    }

    // -- answering --

    /// Accepts an invitation: the first device wins, and only it is told where the asker is.
    pub(super) fn chat_accept(
        &mut self,
        call: &Call,
        who: Who,
        accept: &request::ChatAccept,
    ) -> Ruling {
        let host = host::given(accept.host.as_deref())?;
        let record = self.invitation_to(who, &accept.chat)?;
        if record.state == InvitationState::Accepted {
            return self.accepted_before(who, record);
        }
        may_accept(record, who.device)?;
        let chat = record.chat;
        let side = self.side(call, who, host, [0; 16])?;
        Ok(told(&self.take(&chat, side)?))
    }

    /// The winner gets the same reply again.
    fn accepted_before(&self, who: Who, record: &InvitationRecord) -> Ruling {
        let accepter = record.accepter.as_ref();
        if accepter.is_none_or(|side| side.session != who.session) {
            return Err(refusal!(
                Code::Taken,
                "another device of yours accepted it first; the chat is there"
            ));
        }
        let introduction = self.introduction(record);
        introduction
            .map(|introduction| told(&introduction))
            .ok_or_else(no_such_invitation)
    }

    /// Makes a session the other side of an open invitation.
    fn take(&mut self, chat: &ChatKey, side: ChatSide) -> Result<reply::Introduction, WireError> {
        // Long enough for the winner to ask again after a lost reply.
        let left_ms = self.invitations.left_ms(chat, self.now.mono_ms);
        let due_ms = self.now.mono_ms + left_ms.max(limits::INVITATION_ANSWER_MS);
        let accepted = self
            .invitations
            .accept(chat, side, due_ms, &mut self.changes)
            .ok_or_else(no_such_invitation)?;
        self.tell_invitation(chat);
        self.introduction(&accepted).ok_or_else(no_such_invitation)
    }

    /// Introduces the asker to the one who accepted.
    fn introduction(&self, record: &InvitationRecord) -> Option<reply::Introduction> {
        let (asker, accepter) = (&record.asker, record.accepter.as_ref()?);
        let device = self.directory.device(asker.device)?;
        Some(reply::Introduction {
            chat: hex::encode(record.chat),
            user: self.directory.name_of(record.from).to_owned(),
            device: asker.device,
            key: hex::encode(device.key),
            host: host::between(&asker.host, &accepter.host),
            port: asker.port,
            epoch: asker.epoch,
            own_host: host::between(&accepter.host, &asker.host),
            durability: "fsync".into(),
        })
    }

    /// Says no, for all devices of the user. Said again, it is still no.
    pub(super) fn chat_decline(&mut self, who: Who, decline: &request::ChatDecline) -> Ruling {
        let record = self.invitation_to(who, &decline.chat)?;
        let (chat, state) = (record.chat, record.state);
        if matches!(state, InvitationState::Declined | InvitationState::Busy) {
            return Ok(done());
        }
        if state == InvitationState::Accepted {
            return Err(refusal!(
                Code::Taken,
                "it was accepted already; leave the chat instead"
            ));
        }
        may_decline(record, who.device)?;
        let state = if decline.busy {
            InvitationState::Busy
        } else {
            InvitationState::Declined
        };
        self.end_invitation(&chat, state);
        Ok(done())
    }

    /// Takes back what this session asked. Said again, it is taken back.
    pub(super) fn chat_withdraw(&mut self, who: Who, withdraw: &request::ChatWithdraw) -> Ruling {
        let record = self
            .invitations
            .get(&session_key(&withdraw.chat))
            .filter(|record| record.asker.session == who.session)
            .ok_or_else(no_such_invitation)?;
        let chat = record.chat;
        match record.state {
            InvitationState::Open => self.end_invitation(&chat, InvitationState::Withdrawn),
            InvitationState::Withdrawn => {}
            InvitationState::Accepted => {
                return Err(refusal!(
                    Code::Taken,
                    "it was accepted already; leave the chat instead"
                ));
            }
            ended => return Err(is_over(ended)),
        }
        Ok(done())
    }

    /// Finds an invitation that the caller's user was asked with. Nobody else learns that it exists.
    fn invitation_to(&self, who: Who, chat: &str) -> Result<&InvitationRecord, WireError> {
        self.invitations
            .get(&session_key(chat))
            .filter(|record| record.to == who.user)
            .ok_or_else(no_such_invitation)
    }

    // -- listing --

    pub(super) fn chats(&self, who: Who) -> Option<Vec<u8>> {
        told(&reply::Chats {
            chats: self.chat_rows(who),
        })
    }

    /// Lists what concerns a session, oldest first: open and missed invitations to its user (but not
    /// from its own device), open ones that it made itself, and the newest of those that were answered.
    pub(super) fn chat_rows(&self, who: Who) -> Vec<ChatRow> {
        let answered: Vec<ChatKey> = self
            .invitations
            .made_by(who.user, &who.session)
            .filter(|record| !is_open(record))
            .map(|record| record.chat)
            .collect();
        let skipped = answered
            .len()
            .saturating_sub(limits::INVITATIONS_FROM_USER_MAX);
        let concerns = |record: &&InvitationRecord| {
            let to_me = record.to == who.user && record.asker.device != who.device;
            let is_open_mine = record.asker.session == who.session && is_open(record);
            (to_me && (is_open(record) || is_missed(record)))
                || is_open_mine
                || answered[skipped..].contains(&record.chat)
        };
        let concerning = self.invitations.of_user(who.user).filter(concerns);
        concerning.map(|record| self.chat_row(record)).collect()
    }

    fn chat_row(&self, record: &InvitationRecord) -> ChatRow {
        ChatRow {
            chat: hex::encode(record.chat),
            from: self.directory.name_of(record.from).to_owned(),
            to: self.directory.name_of(record.to).to_owned(),
            state: state_on_wire(record.state),
            device: record.asker.device,
            asked_at: time::to_text(record.asked_at_ms),
            expires_at: time::to_text(record.expires_at_ms),
        }
    }

    /// Notes that the user was shown what he missed.
    pub(super) fn chat_seen(&mut self, who: Who, seen: &request::ChatSeen) -> Ruling {
        if seen.chats.len() > limits::INVITATIONS_TO_USER_MAX {
            return Err(refusal!(
                Code::TooLarge,
                "at most 32 invitations are seen at once"
            ));
        }
        for chat in &seen.chats {
            let Ok(record) = self.invitation_to(who, chat) else {
                continue;
            };
            let chat = record.chat;
            self.invitations.see(&chat, &mut self.changes);
            self.forget_if_unneeded(&chat);
        }
        Ok(done())
    }

    // -- what happens to invitations --

    /// Ends an open invitation, tells both users, and keeps it for who must still hear of it.
    fn end_invitation(&mut self, chat: &ChatKey, state: InvitationState) {
        let ended = self.invitations.end(chat, state, &mut self.changes);
        let Some(record) = ended else {
            return;
        };
        self.tell_invitation(chat);
        self.forget_if_unneeded(chat);
        self.forget_oldest_made(record.from, &record.asker.session);
    }

    /// Tells both users where an invitation stands.
    fn tell_invitation(&mut self, chat: &ChatKey) {
        let Some(record) = self.invitations.get(chat) else {
            return;
        };
        let (from, to) = (record.from, record.to);
        let invitation = self.chat_row(record);
        let notice = Notice::Chat { invitation };
        self.publish(to, &notice, None);
        if from != to {
            self.publish(from, &notice, None);
        }
    }

    /// Removes one that nobody must hear of any more: it is over, not missed, and who asked is gone.
    fn forget_if_unneeded(&mut self, chat: &ChatKey) {
        let Some(record) = self.invitations.get(chat) else {
            return;
        };
        let asker_is_here = self.sessions.get(&record.asker.session).is_some();
        let is_over = !matches!(
            record.state,
            InvitationState::Open | InvitationState::Accepted
        );
        if is_over && !is_missed(record) && !asker_is_here {
            self.invitations.remove(chat, &mut self.changes);
        }
    }

    /// A user has room for so many invitations, open or missed: the oldest missed ones go.
    fn make_room(&mut self, to: LogNumber) {
        let missed: Vec<ChatKey> = self
            .invitations
            .missed_by(to)
            .map(|record| record.chat)
            .collect();
        let kept = missed.len() + self.invitations.open_to(to).count();
        let over = kept.saturating_sub(limits::INVITATIONS_TO_USER_MAX);
        for chat in missed.iter().take(over) {
            self.invitations.see(chat, &mut self.changes);
            self.forget_if_unneeded(chat);
        }
    }

    /// A session is told of its newest ended invitations only: older ones need not be kept for it.
    fn forget_oldest_made(&mut self, from: LogNumber, session: &SessionKey) {
        let ended: Vec<ChatKey> = self
            .invitations
            .made_by(from, session)
            .filter(|record| !is_open(record) && record.state != InvitationState::Accepted)
            .map(|record| record.chat)
            .collect();
        let over = ended
            .len()
            .saturating_sub(limits::INVITATIONS_FROM_USER_MAX);
        for chat in &ended[..over] {
            let missed = self.invitations.get(chat).is_some_and(is_missed);
            if !missed {
                self.invitations.remove(chat, &mut self.changes);
            }
        }
    }

    /// Ends invitations whose time has come, and forgets accepted ones.
    pub(super) fn expire_invitations(&mut self) {
        while let Some(chat) = self.invitations.next_due(self.now.mono_ms) {
            if self.invitations.get(&chat).is_some_and(is_open) {
                self.end_invitation(&chat, InvitationState::Expired);
            } else {
                self.invitations.remove(&chat, &mut self.changes);
            }
        }
    }

    /// A session's lease is over: what it asked is withdrawn, and what was accepted on it leads nowhere.
    pub(super) fn withdraw_invitations(&mut self, user: LogNumber, session: &SessionKey) {
        let is_side = |side: &ChatSide| side.session == *session;
        let naming: Vec<(ChatKey, InvitationState)> = self
            .invitations
            .of_user(user)
            .filter(|record| {
                is_side(&record.asker) || record.accepter.as_ref().is_some_and(is_side)
            })
            .map(|record| (record.chat, record.state))
            .collect();
        for (chat, state) in naming {
            match state {
                InvitationState::Open => self.end_invitation(&chat, InvitationState::Withdrawn),
                InvitationState::Accepted => self.invitations.remove(&chat, &mut self.changes),
                _ => {}
            }
        }
    }

    /// A session is over: what is kept for it alone goes.
    pub(super) fn forget_made_by(&mut self, user: LogNumber, session: &SessionKey) {
        let made: Vec<ChatKey> = self
            .invitations
            .made_by(user, session)
            .map(|record| record.chat)
            .collect();
        for chat in made {
            self.forget_if_unneeded(&chat);
        }
    }

    /// Answers a blocked user's open invitations as busy.
    pub(super) fn turn_away(&mut self, user: LogNumber, blocked: LogNumber) {
        let open: Vec<ChatKey> = self
            .invitations
            .open_to(user)
            .filter(|record| record.from == blocked)
            .map(|record| record.chat)
            .collect();
        for chat in open {
            self.end_invitation(&chat, InvitationState::Busy);
        }
    }

    /// A user was removed: who asked him hears that he takes no chat; what he asked or missed goes.
    pub(super) fn forget_chats_of(&mut self, user: LogNumber) {
        let naming: Vec<(ChatKey, bool)> = self
            .invitations
            .of_user(user)
            .map(|record| (record.chat, record.from == user))
            .collect();
        for (chat, made) in naming {
            if made {
                self.invitations.remove(&chat, &mut self.changes);
            } else {
                self.end_invitation(&chat, InvitationState::Busy);
                self.invitations.see(&chat, &mut self.changes);
                self.forget_if_unneeded(&chat);
            }
        }
        self.blocks.forget(user, &mut self.changes);
    }

    /// A removed user's number is gone: nothing names it any more.
    pub(super) fn drop_chats_of(&mut self, user: LogNumber) {
        let naming: Vec<ChatKey> = self
            .invitations
            .of_user(user)
            .map(|record| record.chat)
            .collect();
        for chat in naming {
            self.invitations.remove(&chat, &mut self.changes);
        }
    }

    // -- the start --

    /// Puts the store's invitations in force again, after the sessions (P13): what stands on a lease
    /// that is gone is withdrawn.
    pub(super) fn restore_invitations(&mut self, records: Vec<InvitationRecord>) {
        let chats: Vec<ChatKey> = records.iter().map(|record| record.chat).collect();
        for record in records {
            let due_ms = self.due_again(&record);
            self.invitations.place(record, due_ms);
        }
        for chat in chats {
            self.settle_restored(&chat);
        }
    }

    /// The wall time that was left, within a whole term: the clock may have been set meanwhile.
    fn due_again(&self, record: &InvitationRecord) -> Option<u64> {
        let left_ms = record.expires_at_ms.saturating_sub(self.now.wall_ms);
        let left_ms = u64::try_from(left_ms).unwrap_or(0);
        let left_ms = left_ms.min(self.settings.invitation_ttl_ms);
        match record.state {
            InvitationState::Open => Some(self.now.mono_ms + left_ms),
            InvitationState::Accepted => {
                Some(self.now.mono_ms + left_ms.max(limits::INVITATION_ANSWER_MS))
            }
            _ => None,
        }
    }

    fn settle_restored(&mut self, chat: &ChatKey) {
        let Some(record) = self.invitations.get(chat) else {
            return;
        };
        let stands = |side: &ChatSide| {
            let lease = self.leases.of_session(&side.session);
            lease.is_some_and(|lease| lease.epoch == side.epoch)
        };
        let is_unknown = |user: &LogNumber| self.directory.address(*user).is_none();
        let asker = stands(&record.asker);
        let accepter = record.accepter.as_ref().is_none_or(stands);
        match record.state {
            _ if [record.from, record.to].iter().any(is_unknown) => {
                self.invitations.remove(chat, &mut self.changes);
            }
            InvitationState::Open if !asker => {
                self.end_invitation(chat, InvitationState::Withdrawn);
            }
            InvitationState::Accepted if !asker || !accepter => {
                self.invitations.remove(chat, &mut self.changes);
            }
            _ => self.forget_if_unneeded(chat),
        }
    }
}

/// Says whether a device may accept an invitation.
fn may_accept(record: &InvitationRecord, device: u64) -> Result<(), WireError> {
    may_decline(record, device)?;
    if device > record.devices_through {
        return Err(refusal!(
            Code::Denied,
            "this device is newer than the invitation, so the asker does not know its key; \
                    accept on an older device, or ask back"
        ));
    }
    Ok(())
}

/// Says whether a device may answer an invitation at all.
fn may_decline(record: &InvitationRecord, device: u64) -> Result<(), WireError> {
    if !is_open(record) {
        return Err(is_over(record.state));
    }
    if record.asker.device == device {
        return Err(refusal!(
            Code::Denied,
            "this device asked itself; another device answers, this one withdraws"
        ));
    }
    Ok(())
}

fn no_such_invitation() -> WireError {
    refusal!(
        Code::NoInvitation,
        "no such invitation to you; it was answered or ran out, or never was"
    )
}

/// Says why an invitation that is over is none any more.
fn is_over(state: InvitationState) -> WireError {
    let over = Code::NoInvitation;
    match state {
        InvitationState::Withdrawn => {
            refusal!(over, "this invitation was taken back; ask for a new chat")
        }
        InvitationState::Expired => refusal!(over, "this invitation ran out; ask for a new chat"),
        InvitationState::Declined | InvitationState::Busy => {
            refusal!(over, "this invitation was declined; ask for a new chat")
        }
        InvitationState::Open | InvitationState::Accepted => {
            refusal!(over, "this invitation was answered; ask for a new chat")
        }
    }
}

/// Digests a client's own word for an ask; all zero without one.
fn digest_of(nonce: Option<&str>) -> Result<[u8; 16], WireError> {
    let mut digest = [0; 16];
    if let Some(nonce) = nonce {
        if nonce.is_empty() || nonce.len() > limits::NONCE_BYTES_MAX {
            return Err(refusal!(Code::BadRequest, "a nonce has 1 to 32 bytes"));
        }
        digest.copy_from_slice(&blake3::hash(nonce.as_bytes()).as_bytes()[..16]);
    }
    Ok(digest)
}

fn state_on_wire(state: InvitationState) -> ChatState {
    match state {
        InvitationState::Open => ChatState::Open,
        InvitationState::Accepted => ChatState::Accepted,
        InvitationState::Declined => ChatState::Declined,
        InvitationState::Busy => ChatState::Busy,
        InvitationState::Withdrawn => ChatState::Withdrawn,
        InvitationState::Expired => ChatState::Expired,
    }
}

//! Every maximum of the system with the reason for its value.
//!
//! Decoding, queues, page sizes and leases read their bounds from here; over a limit the sender is
//! told with a code, nothing is dropped in silence. What an operator may change lives in
//! [`crate::config`] and takes its default from here.

/// Bytes of one frame on any socket. One client can then never make libzmq hold more than this
/// before a message is whole.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;

/// Bytes that CURVE adds to each frame on the wire, which libzmq's own limit counts: `MESSAGE` with
/// its length, a nonce, a box's tag and the flags.
pub const CURVE_BYTES: usize = 8 + 8 + 16 + 1;

/// Bytes of one frame on the live socket in the client-to-server direction (subscriptions). CURVE's
/// handshake needs about 300 bytes to pass; a notice key is 16.
pub const SUBSCRIPTION_FRAME_BYTES_MAX: usize = 400;

/// Bytes of a key file. One is 140 or 330 long.
pub const KEY_FILE_BYTES_MAX: u64 = 4 * 1024;

/// Memory that a key file may ask for to try a passphrase, in KiB: four times what this release asks for.
pub const KEY_MEMORY_KIB_MAX: u32 = 256 * 1024;

/// Passes over that memory that a key file may ask for.
pub const KEY_PASSES_MAX: u32 = 16;

/// Lanes that a key file may ask for.
pub const KEY_LANES_MAX: u32 = 4;

/// Characters that a passphrase has at least.
pub const PASSPHRASE_CHARS_MIN: usize = 8;

/// Bytes of a passphrase, at most.
pub const PASSPHRASE_BYTES_MAX: usize = 1024;

/// Frames of one request after the routing id: request id, header and at most one body frame.
pub const REQUEST_FRAMES_MAX: usize = 3;

/// Bytes of a request id: the client's own word, echoed back.
pub const REQUEST_ID_BYTES_MAX: usize = 32;

/// Bytes of a body by default, and the most an operator may set.
pub const BODY_BYTES_DEFAULT: u64 = 1024 * 1024;
/// See [`BODY_BYTES_DEFAULT`].
pub const BODY_BYTES_CEILING: u64 = 25 * 1024 * 1024;

/// Bytes of one `part` of a larger body.
pub const PART_BYTES_MAX: usize = FRAME_BYTES_MAX;

/// Bytes of all bodies being uploaded in parts, over all sessions: what the broker will hold in
/// memory for mails that are not sent yet.
pub const STAGING_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// Milliseconds after which an upload that got no further part is given up.
pub const STAGING_IDLE_MS: u64 = 60_000;

/// Bytes of a name (user, topic, or each whole pattern).
pub const NAME_BYTES_MAX: usize = 64;

/// Bytes of a subject: RFC 5322's line limit.
pub const SUBJECT_BYTES_MAX: usize = 998;

/// Bytes of a content type.
pub const CONTENT_TYPE_BYTES_MAX: usize = 200;

/// Bytes of a device's own label.
pub const DEVICE_NAME_BYTES_MAX: usize = 64;

/// Recipients of one send. With the longest names, subject and content type a mail's record still
/// fits one stored value ([`VALUE_BYTES_MAX`]).
pub const RECIPIENTS_MAX: usize = 32;

/// Bytes of one stored value. sled puts pages over about 128 KiB into files it never syncs; at
/// 4 KiB a value none was seen (docs/storage.md).
pub const VALUE_BYTES_MAX: usize = 4096;

/// Bytes of records in one block of a backup: what reading and writing one hold in memory, large
/// enough that packing finds what repeats.
pub const BACKUP_BLOCK_BYTES_MAX: usize = 256 * 1024;

/// Bytes after which a part of a backup of a running server ends: it is a little larger, by a block and a few rows at
/// most.
pub const BACKUP_PART_BYTES: usize = 512 * 1024;

/// Bytes of rows that are kept as they were for a backup of a running server; if more change before it has come to
/// them, it has to begin anew.
pub const BACKUP_KEPT_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Seconds after which a backup of a running server for whose next part nobody asks is given up.
pub const BACKUP_IDLE_S: u64 = 60;

/// Subscriptions (topics and prefixes) of one user.
pub const SUBSCRIPTIONS_MAX: usize = 1024;

/// Open streams of one device; a settled one goes to make room.
pub const STREAMS_PER_DEVICE_MAX: usize = 64;

/// Sends of one stream that may be unsettled at once: the size of its memory in the broker.
pub const STREAM_WINDOW_MAX: u64 = 1024;

/// Sessions of one device; the one silent for longest goes to make room.
pub const SESSIONS_PER_DEVICE_MAX: usize = 64;

/// Devices of one user.
pub const DEVICES_PER_USER_MAX: usize = 64;

/// Mails in one page, whatever credit the client gives.
pub const PAGE_MAILS_MAX: u32 = 500;

/// Bytes of bodies in one page. libzmq holds as many pages for a client that asks and does not read as
/// it holds messages, so this bounds what one such client costs (`broker::xpub`: some 160 MB).
pub const PAGE_BYTES_MAX: usize = 128 * 1024;

/// Reads of one device that may be under way: each waits in memory until the disk comes to it.
pub const READS_PER_DEVICE_MAX: usize = 256;

/// Bytes of a JSON header the broker will write; rows stop before it, so that it fits a frame.
pub const HEADER_BYTES_MAX: usize = 60 * 1024;

/// Rows of one page of a listing.
pub const ROWS_MAX: usize = 200;

/// Rules for who may read and send to topics: each is looked at for each mail to a topic.
pub const GRANTS_MAX: usize = 1_024;

/// Mails removed by one request of a purge.
pub const PURGE_BATCH: u32 = 1_000;

/// Mails that one request of a move takes along at most.
pub const SHIFT_BATCH: u32 = 100;

/// Logs that one request looks into for a mail of which only the number is known.
pub const EXPLAIN_LOGS: usize = 500;

/// Mails whose bodies an administrator is shown at once: the audit's line has room for their ids.
pub const LOOK_MAILS: u32 = 24;

/// Mails looked at last whose bodies may be asked for in pieces.
pub const LOOKS_KEPT: usize = 256;

/// Deeds kept in the audit; the oldest go first. A deed has about 200 bytes.
pub const AUDIT_ROWS_MAX: u64 = 100_000;

/// Newest deeds that are shown to who names none to begin after.
pub const AUDIT_ROWS_SHOWN: u64 = 100;

/// Subscriptions named where one user is shown.
pub const TOPICS_SHOWN_MAX: usize = 100;

/// Seconds for which a kick keeps out, unless it says otherwise.
pub const KICK_SECONDS: u64 = 300;

/// Seconds for which it may.
pub const KICK_SECONDS_MAX: u64 = 30 * 86_400;

/// Addresses looked at for one page of `who`: it passes over topics, of which there may be any number.
pub const WHO_EXAMINED_MAX: usize = 2_000;

/// Days after which nobody is told when a user was last seen: whoever is hidden looks like one of those.
pub const SEEN_DAYS_MAX: i64 = 30;

/// Cursors looked at for one page of `devices`: a user may read any number of topics on 64 devices.
pub const DEVICE_CURSORS_MAX: usize = 20_000;

/// Topics named in one login: with a refusal each, its reply still fits a frame.
pub const LOGIN_TOPICS_MAX: usize = 64;

/// Uploads of large bodies that one user may have under way, so that nobody fills the memory for them
/// alone ([`STAGING_BYTES_MAX`]).
pub const UPLOADS_PER_USER_MAX: usize = 8;

/// Names compared with one that does not exist, to suggest the nearest.
pub const NAMES_COMPARED_MAX: usize = 256;

/// Acknowledgements in one request.
pub const ACKS_MAX: usize = 256;

/// Body bytes a live notice carries; a larger mail comes as a hint to refresh.
pub const NOTICE_BODY_BYTES_MAX: usize = 16 * 1024;

/// Milliseconds a connection may take from its first byte to its proven key. Long: when thousands of
/// clients come back at once, each waits for its turn, and who is cut off meanwhile only starts again
/// behind the others (with five seconds, 2,000 clients of a busy machine failed 2,800 times).
pub const HANDSHAKE_MS: i32 = 30_000;

/// Milliseconds between two heartbeats of a standing session.
pub const HEARTBEAT_MS: u64 = 5_000;

/// Milliseconds a session lives without any request; a lease's default term is the same.
pub const SESSION_TTL_MS: u64 = 90_000;

/// Milliseconds that a store may owe an answer before the process ends: longer than any disk that works takes.
pub const STORE_SILENCE_MS: u64 = 120_000;

/// Mails and bytes of one log by default.
pub const LOG_MAILS_DEFAULT: u64 = 1_000_000;
/// See [`LOG_MAILS_DEFAULT`].
pub const LOG_BYTES_DEFAULT: u64 = 4 * 1024 * 1024 * 1024;

/// Mails of a topic kept for newcomers, and for how many seconds of the server's running time.
pub const HISTORY_MAILS_DEFAULT: u64 = 1_000;
/// See [`HISTORY_MAILS_DEFAULT`].
pub const HISTORY_SECONDS_DEFAULT: u64 = 30 * 24 * 3600;

/// Seconds of the server's running time after which an unseen device no longer holds topic mail.
pub const DEVICE_STALE_SECONDS: u64 = 90 * 24 * 3600;

/// Seconds of the server's running time after which an unsettled stream may go.
pub const STREAM_STALE_SECONDS: u64 = 90 * 24 * 3600;

/// Seconds an invitation code is good for.
pub const CODE_SECONDS: u64 = 24 * 3600;

/// Bytes of an invitation code in an address: ours have 20.
pub const CODE_BYTES_MAX: usize = 128;

/// Codes one user may have open.
pub const CODES_PER_USER_MAX: usize = 32;

/// Seconds a mail's own expiry may lie ahead: ten years.
pub const TTL_SECONDS_MAX: u64 = 10 * 365 * 24 * 3600;

/// Mails trimmed in one batch, so that trimming never holds up a turn.
pub const TRIM_BATCH: u32 = 256;

/// Ids skipped by the counters when a store is found to have lost some: far more than could have
/// been given out since.
pub const ID_JUMP: u64 = 1 << 32;

/// What a counter jumps to grows by this much a millisecond, which no server gives out, from
/// the beginning of 2026 on: so of two servers from one backup the later has the higher numbers.
pub const ID_PER_MS: u64 = 1 << 10;
/// See [`ID_PER_MS`]: 2026-01-01T00:00:00Z.
pub const ID_CLOCK_BEGINS_MS: u64 = 1_767_225_600_000;

/// The largest id that JSON readers hold exactly.
pub const ID_MAX: u64 = (1 << 53) - 1;

/// Milliseconds an invitation to a chat stands open by default.
pub const INVITATION_TTL_MS: u64 = 5 * 60_000;

/// Open invitations one user may have made.
pub const INVITATIONS_FROM_USER_MAX: usize = 16;

/// Invitations kept for one user, open or missed; when as many are open, who asks hears "busy", and
/// the oldest missed one goes for a new one.
pub const INVITATIONS_TO_USER_MAX: usize = 32;

/// Invitations one user may make in a minute.
pub const INVITATIONS_PER_MINUTE: usize = 30;

/// Milliseconds an accepted invitation is kept at least, so that the winner whose reply was lost may
/// ask again: longer than any client goes on asking.
pub const INVITATION_ANSWER_MS: u64 = 60_000;

/// Bytes of a client's own word for an ask.
pub const NONCE_BYTES_MAX: usize = 32;

/// Users one user may block.
pub const BLOCKS_MAX: usize = 1024;

/// Bytes of a host name in an invitation: DNS's limit.
pub const HOST_BYTES_MAX: usize = 253;

/// Bytes of one chat line. With its header it fits a frame.
pub const LINE_BYTES_MAX: usize = 32 * 1024;

/// Lines of a chat under way at once: what a sender keeps until they are acknowledged.
pub const LINE_WINDOW: u64 = 1_024;

/// Bytes of the JSON of a chat's note: a file name of 255 bytes fits, however it is escaped.
pub const NOTE_BYTES_MAX: usize = 4 * 1024;

/// Bytes of one piece of a file in a chat. With its header it fits a frame.
pub const FILE_PIECE_BYTES: usize = FRAME_BYTES_MAX - 64;

/// Bytes of a file that may be under way beyond what the receiver has written.
pub const FILE_WINDOW_BYTES: u64 = 4 * 1024 * 1024;

/// Bytes by which the memory of `mailctl` may grow in a chat: far more than its windows and queues take
/// ([`LINES_BYTES_MAX`], [`FILE_WINDOW_BYTES`]), so that only a flood comes to it.
pub const CHAT_HELD_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// Milliseconds between two signs of life in a chat.
pub const CHAT_BEAT_MS: u64 = 2_000;

/// Milliseconds of silence after which the other side of a chat is lost.
pub const CHAT_LOST_MS: u64 = 10_000;

/// Milliseconds within which the two sides of an accepted chat must have reached each other.
pub const CHAT_CONNECT_MS: u64 = 8_000;

/// Lines of a chat that may wait for room in [`LINE_WINDOW`] before the next one is asked for.
pub const LINES_AHEAD: u64 = 256;

/// Bytes of lines one side of a chat keeps until they are acknowledged, before it asks for no more.
pub const LINES_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Lines shown after which a chat acknowledges at once; fewer wait for the millisecond to pass.
pub const CHAT_ACK_LINES: u64 = 256;

/// Milliseconds after which an unanswered hello is said again.
pub const CHAT_HELLO_MS: u64 = 1_000;

/// Milliseconds of silence after which the user of a chat hears of it.
pub const CHAT_BROKEN_MS: u64 = 3_000;

/// Milliseconds for which a port must refuse until the other side of a chat is taken to be gone.
pub const CHAT_REFUSED_MS: u64 = 3_000;

/// Milliseconds between two requests for the same missing line.
pub const CHAT_MISSING_MS: u64 = 500;

/// Milliseconds within which a row of lines is begun again only once.
pub const CHAT_REWIND_MS: u64 = 200;

/// Milliseconds a side that leaves waits for the other one while nothing moves ...
pub const CHAT_LEAVE_MS: u64 = 2_000;

/// ... and altogether.
pub const CHAT_LEAVE_MS_MAX: u64 = 4_000;

/// What one user or address may do: so many at once, then one more every so many microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// At once.
    pub burst: u64,
    /// Microseconds until there is one more.
    pub micros: u64,
}

/// Failed requests of a user, or of all unknown keys of an address: a client with a fault is told of it
/// 500 times at once and 50 times a second; then all it asks is answered `busy`. Wrong codes are not among them: a code has 80
/// random bits, so at the pace of [`STRANGERS_REQUESTS`] nobody finds one, and nobody need be kept from trying a right one.
pub const FAILED_REQUESTS: Rate = Rate {
    burst: 500,
    micros: 20_000,
};

/// Answers `busy` to who is over a budget, ten a second: beyond them requests are dropped.
pub const BUSY_ANSWERS: Rate = Rate {
    burst: 10,
    micros: 100_000,
};

/// Requests of all unknown keys of an address: enough for 10,000 devices that register at once. A key costs nothing, so
/// the address has to answer for all of them: who asks faster keeps its neighbours waiting.
pub const STRANGERS_REQUESTS: Rate = Rate {
    burst: 10_000,
    micros: 1_000,
};

/// Logins of a user. Each run of `mailctl` is one.
pub const LOGINS: Rate = Rate {
    burst: 1_000,
    micros: 5_000,
};

/// What a user's denied subscriptions may cost, in units of [`denied_cost`]: some 4,000 of a notice
/// key's size, which is what three devices ask for that come back with the old keys of 1,024 logs each. libzmq keeps them
/// for as long as the connection lasts.
pub const DENIED_SUBSCRIPTIONS: Rate = Rate {
    burst: 131_072,
    micros: 31_250,
};

/// What of [`DENIED_KEPT_MAX`] one user may fill in the long run, on connections that last: a quarter, which comes back in a
/// week.
pub const DENIED_SHARE: Rate = Rate {
    burst: DENIED_KEPT_MAX / 4,
    micros: 7 * 86_400_000_000 / (DENIED_KEPT_MAX / 4),
};

/// Subscriptions and ends of subscriptions of a user, granted or not: each takes the server's time. Twice
/// what all devices of a user subscribe to at once who has as many of both as there may be.
pub const LIVE_FRAMES: Rate = Rate {
    burst: 131_072,
    micros: 1_000,
};

/// What a frame costs that is no subscription, in units of [`denied_cost`]: 16 of them are a whole
/// budget, for no client's library sends one.
pub const STRAY_COST: u64 = 8_192;

/// Denied subscriptions that all connections together may make libzmq keep, in units of
/// [`denied_cost`], before the live socket is opened anew: about 50 MB. Whoever has one more denied while it
/// may not be opened anew loses his connection.
pub const DENIED_KEPT_MAX: u64 = 1 << 20;

/// Milliseconds between two times at which the live socket is opened anew: each costs every client its
/// live connection, which it makes again by itself.
pub const LIVE_RENEWAL_MS: u64 = 10 * 60_000;

/// What a denied subscription costs: libzmq keeps about 45 bytes for each of these units.
pub const fn denied_cost(topic_bytes: usize) -> u64 {
    16 + topic_bytes as u64
}

/// Budgets kept of one kind that are not whole; who comes then shares one.
pub const BUDGETS_MAX: usize = 16_384;

/// Registrations of an address in an hour by default, and of this machine's own, where many users
/// share one address.
pub const REGISTRATIONS_DEFAULT: u64 = 200;
/// See [`REGISTRATIONS_DEFAULT`].
pub const REGISTRATIONS_LOOPBACK: u64 = 20_000;

/// Open invitations of one user to another.
pub const INVITATIONS_TO_ONE_MAX: usize = 4;

/// Places among the [`INVITATIONS_TO_USER_MAX`] of a user that are kept for askers who have none yet.
pub const INVITATIONS_RESERVED: usize = 8;

/// Rows of each table that an onlooker is shown (queues, sessions): the same for ten users and a million, so
/// that what is scraped stays small.
pub const FIGURES_ROWS_MAX: usize = 10;

/// Queues whose oldest mail is looked up for one set of figures: each costs a read of the store.
pub const FIGURES_LOOKED_UP_MAX: usize = 64;

/// Queues that are looked at in one turn of the broker for onlookers: well under a millisecond.
pub const FIGURES_QUEUES_PER_TURN: usize = 4_096;

/// Connections to the HTTP address. One more closes the one that has waited longest for its request, so that
/// whoever opens many and says nothing keeps nobody out.
pub const HTTP_CONNECTIONS_MAX: usize = 64;

/// Of them, open dashboards: each is sent the figures every second.
pub const HTTP_STREAMS_MAX: usize = 16;

/// Bytes of an HTTP request's head, and header lines in it: no browser needs as many.
pub const HTTP_HEAD_BYTES_MAX: usize = 8 * 1024;
/// See [`HTTP_HEAD_BYTES_MAX`].
pub const HTTP_HEADERS_MAX: usize = 64;

/// Milliseconds in which an HTTP request must be there.
pub const HTTP_HEAD_MS: u64 = 5_000;

/// Milliseconds in which the broker must have answered: a health check that hangs says less than one that
/// fails.
pub const HTTP_ANSWER_MS: u64 = 2_000;

/// Milliseconds in which a client must have taken an HTTP answer.
pub const HTTP_WRITE_MS: u64 = 10_000;

/// Bytes that wait for a dashboard that does not read before it is hung up on.
pub const HTTP_UNSENT_BYTES_MAX: usize = 256 * 1024;

//! Every parser that meets bytes of somebody else, and what must hold whatever they are.
//!
//! A parser is a line in [`PARSERS`]: its name, what is run, and which lines of `src/` it is made of (for
//! `fuzz/coverage.sh`). A new one needs that line, `fuzz_targets/NAME.rs`, its `[[bin]]` in `Cargo.toml`
//! and seeds in `corpus/NAME/`; `tests/corpora.rs` says what is missing. What is run asserts properties:
//! not only that nothing panics, but that what was read is written the same again, that limits hold and
//! that nothing shown can act.

mod backup;
mod broker;
mod chat;
mod client;
mod config;
mod http;
mod lines;
mod mailbox;
mod shell;
mod shown;
mod store;
mod wire;

/// Name, what is run, and the source it covers: a file, or a file and some of its functions
/// (`src/x.rs:one,other`).
pub type Parser = (&'static str, fn(&[u8]), &'static [&'static str]);

/// The table.
pub const PARSERS: &[Parser] = &[
    ("request", wire::request, &["src/protocol/request.rs"]),
    ("reply", wire::reply, &["src/protocol/reply.rs"]),
    ("notice", wire::notice, &["src/protocol/notice.rs"]),
    ("error", wire::error, &["src/protocol/codes.rs"]),
    ("names", wire::names, &["src/protocol/names.rs"]),
    ("server_url", wire::server_url, &["src/protocol/url.rs"]),
    (
        "times",
        wire::times,
        &[
            "src/protocol/time.rs",
            "src/cli/times.rs:human,human_at,hour,hour_at,left,left_at,skew_warning,skew_at",
        ],
    ),
    ("host", wire::host, &["src/broker/host.rs"]),
    ("http_request", http::request, &["src/http/request.rs"]),
    ("zap", wire::zap, &["src/auth/zap.rs"]),
    (
        "monitor_event",
        wire::monitor_event,
        &["src/client/monitor.rs:raw_event"],
    ),
    (
        "record",
        store::record,
        &[
            "src/store/codec.rs:encode,encode_raw,decode,open,options,begin,seal,checksum,as_bytes",
            "src/store/key.rs:numbers,chunk_parts",
        ],
    ),
    (
        "stored",
        store::stored,
        &[
            "src/store/read.rs",
            "src/store/verify.rs",
            "src/store/kv.rs",
        ],
    ),
    (
        "backup",
        backup::backup,
        &[
            "src/store/backup.rs",
            "src/store/backup/read.rs:open,check,rows,admit,end,preface,expect,block,unpack,fill,damaged,is_plain,split,kept",
        ],
    ),
    (
        "seal",
        store::seal,
        &["src/store/sled/seal.rs:found_in,newest,content,whole"],
    ),
    ("chat_frame", chat::frame, &["src/chat/frame.rs"]),
    ("chat_bundle", chat::bundle, &["src/chat/bundle.rs"]),
    (
        "chat_files",
        chat::files,
        &["src/chat/file/mod.rs:handle,hear_offer,consider,refuse_offer,take_offer,abandoned"],
    ),
    (
        "chat_core",
        chat::core,
        &[
            "src/chat/core.rs",
            "src/chat/core/heard.rs",
            "src/chat/core/said.rs",
            "src/chat/core/meeting.rs",
            "src/chat/core/link.rs",
        ],
    ),
    (
        "fingerprint",
        chat::fingerprint,
        &["src/chat/fingerprint.rs"],
    ),
    ("file_name", chat::file_name, &["src/chat/file/name.rs"]),
    (
        "untrusted",
        shown::untrusted,
        &["src/cli/untrusted.rs", "src/protocol/active.rs"],
    ),
    (
        "mail_shown",
        shown::mail,
        &[
            "src/cli/show.rs:mail,folded,header,body_lines",
            "src/cli/json.rs:of,mail",
        ],
    ),
    (
        "attachments",
        shown::attachments,
        &["src/client/attachments.rs:pack,parts,whole,unpack,text_of,attachment"],
    ),
    ("mbox", mailbox::mbox_file, &["src/client/mbox.rs"]),
    ("message", mailbox::message, &["src/client/message.rs"]),
    (
        "search_query",
        mailbox::search_query,
        &["src/client/search/query.rs", "src/client/search/fold.rs"],
    ),
    (
        "json_lines",
        mailbox::json_lines,
        &["src/client/exchange.rs:json_line,all_flags,mail"],
    ),
    (
        "shell_line",
        shell::line,
        &[
            "src/cli/shell/parse.rs",
            "src/cli/shell/words.rs",
            "src/cli/shell/table.rs",
        ],
    ),
    (
        "chat_line",
        shell::chat_line,
        &["src/cli/shell/chat/table.rs"],
    ),
    (
        "arguments",
        shell::arguments,
        &[
            "src/cli/args.rs:parse_timeout,parse_from,bare",
            "src/cli/args/chat.rs:parse_wait",
            "src/cli/args/writing.rs:parse_ttl,parse_undo",
        ],
    ),
    (
        "config_file",
        config::file,
        &[
            "src/config.rs:from_layers,check,parse_file,syntax_problem,unknown,nearest,scalar,live_endpoint,registration_mode",
        ],
    ),
    (
        "config_value",
        config::value,
        &[
            "src/config/value.rs",
            "src/config.rs:parse_environment,unknown_variables",
        ],
    ),
    (
        "key_file",
        client::key_file,
        &[
            "src/auth/keys.rs:parse",
            "src/auth/seal.rs:parse,bytes,head,to_text",
        ],
    ),
    (
        "home_file",
        client::home_file,
        &["src/client/hostile.rs:json_file,again"],
    ),
    (
        "outbox_file",
        client::outbox_file,
        &[
            "src/client/outbox/form.rs:name_of,done_name,parse_done,parse_name,parse_standing,header_of,parse_draft",
        ],
    ),
    ("mail_file", client::mail_file, &["src/client/mime.rs"]),
    ("mail_header", client::mail_header, &["src/client/mime.rs"]),
    (
        "mailbox_name",
        client::mailbox_name,
        &[
            "src/client/mailbox.rs:name_of,cur_name,parse_name",
            "src/client/mailbox/flags.rs",
            "src/client/shown.rs:parse_line_type,is_hex",
        ],
    ),
    (
        "server_file",
        client::server_file,
        &["src/mailserver/folder.rs:parse"],
    ),
    ("client_core", client::core, &["src/client/core.rs"]),
    (
        "broker_core",
        broker::core,
        &[
            "src/broker/core.rs",
            "src/broker/account.rs",
            "src/broker/session.rs",
            "src/broker/send.rs",
            "src/broker/read.rs",
            "src/broker/topic.rs",
            "src/broker/lease.rs",
            "src/broker/leases.rs",
            "src/broker/invitation.rs",
            "src/broker/invitations.rs",
            "src/broker/block.rs",
            "src/broker/admin.rs",
            "src/broker/audit.rs",
            "src/broker/deed.rs",
            "src/broker/rules.rs",
            "src/broker/queue.rs",
            "src/broker/streams.rs",
            "src/broker/logs.rs",
            "src/broker/directory.rs",
            "src/broker/sessions.rs",
            "src/broker/live.rs",
            "src/broker/budget.rs",
        ],
    ),
];

/// Returns what is run for a name.
pub fn find(name: &str) -> Option<fn(&[u8])> {
    let found = PARSERS.iter().find(|(known, ..)| *known == name);
    found.map(|(_, run, _)| *run)
}

/// Characters that act on who reads them. Written out again on purpose: a hole in the library's own list
/// must not hide itself.
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c), 0x61c | 0x200b..=0x200f | 0x2028..=0x202e | 0x2060..=0x2069 | 0xfeff)
}

/// Says whether something in a shown text acts; a joiner between two pictures is a part of them.
fn acts_in(text: &str) -> bool {
    let is_picture = |c: char| matches!(u32::from(c), 0x2600..=0x27bf | 0x2b1b..=0x2b55 | 0x1f300..=0x1faff | 0xfe0f);
    let chars: Vec<char> = text.chars().collect();
    let between = |at: usize| {
        let after = chars.get(at + 1);
        at > 0 && is_picture(chars[at - 1]) && after.is_some_and(|c| is_picture(*c))
    };
    let acting = |at: &usize| acts(chars[*at]) && !(chars[*at] == '\u{200d}' && between(*at));
    (0..chars.len()).any(|at| acting(&at))
}

/// Splits off what comes before the first `mark`.
fn cut(bytes: &[u8], mark: u8) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == mark) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[]),
    }
}

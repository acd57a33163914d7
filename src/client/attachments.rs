//! Mails with attachments: a MIME multipart as the body, made and read back.
//!
//! The server knows a content type and bytes. What is in a multipart body comes from whoever sent it: names
//! are as hostile as any text, and sizes are bounded by the body alone. Pure; nothing is written here.

use std::path::Path;

use mail_builder::headers::content_type::ContentType;
use mail_builder::mime::{BodyPart, MimePart};
use mail_parser::{Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::message;
use crate::protocol::MailId;

/// Attachments of one mail that are told apart; what comes after them is left out.
pub const ATTACHMENTS_MAX: usize = 256;

/// Random bytes of a boundary: nothing that is sent has it inside.
const BOUNDARY_BYTES: usize = 16;

/// A file that goes along with a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// What its sender calls it: any text, also none.
    pub name: String,
    /// Its MIME type, as its sender says.
    pub content_type: String,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// What a multipart body holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// The text, as far as there is one. A part in HTML alone is shown as plain text.
    pub text: String,
    /// The text was no UTF-8: what could not be read is replaced.
    pub is_lossy: bool,
    /// Everything else, in order.
    pub attachments: Vec<Attachment>,
}

/// Makes the body of a mail with a text and attachments. Returns its content type and its bytes.
///
/// # Errors
/// The system has no random bytes.
pub fn pack(
    text: &str,
    attachments: Vec<Attachment>,
) -> Result<(String, Vec<u8>), getrandom::Error> {
    let mut random = [0; BOUNDARY_BYTES];
    getrandom::fill(&mut random)?;
    let boundary = hex::encode(random);
    let text = MimePart::new("text/plain", BodyPart::Text(text.into()));
    let files = attachments.into_iter().map(|file| {
        MimePart::new(file.content_type, BodyPart::Binary(file.bytes.into())).attachment(file.name)
    });
    let parts = std::iter::once(text).chain(files).collect();
    let mut body = Vec::new();
    let kind = ContentType::new("multipart/mixed").attribute("boundary", boundary.as_str());
    MimePart::new(kind, BodyPart::Multipart(parts)).write_part(&mut body);
    // The head says what the content type of the mail says already.
    let head = body.windows(4).position(|end| end == b"\r\n\r\n");
    body.drain(..head.map_or(0, |at| at + 4));
    Ok((format!("multipart/mixed; boundary=\"{boundary}\""), body))
}

/// Takes a mail's body apart: a text, and what goes along with it. A body that is neither text nor a
/// multipart is one attachment.
pub fn parts(id: MailId, content_type: &str, body: &[u8]) -> Parts {
    if let Some(parts) = unpack(content_type, body) {
        return parts;
    }
    let is_text = content_type
        .get(..5)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("text/"));
    match std::str::from_utf8(body) {
        Err(_) if !is_text => Parts {
            attachments: vec![whole(id, content_type, body)],
            ..Parts::default()
        },
        read => Parts {
            text: String::from_utf8_lossy(body).into_owned(),
            is_lossy: read.is_err(),
            ..Parts::default()
        },
    }
}

fn whole(id: MailId, content_type: &str, body: &[u8]) -> Attachment {
    let endings = mime_guess::get_mime_extensions_str(content_type);
    let ending = endings.and_then(|all| all.first()).unwrap_or(&"bin");
    Attachment {
        name: format!("mail-{id}.{ending}"),
        content_type: content_type.to_owned(),
        bytes: body.to_vec(),
    }
}

/// Returns the MIME type of a file of this name with these bytes.
pub fn type_of(name: &Path, bytes: &[u8]) -> String {
    let guessed = mime_guess::from_path(name).first_raw();
    let plain = || match std::str::from_utf8(bytes) {
        Ok(_) => "text/plain",
        Err(_) => mime_guess::mime::APPLICATION_OCTET_STREAM.essence_str(),
    };
    guessed.unwrap_or_else(plain).to_owned()
}

/// Reads a multipart body, or one that is a whole message; nothing when it is neither.
pub fn unpack(content_type: &str, body: &[u8]) -> Option<Parts> {
    if message::is_message(content_type) {
        return MessageParser::default().parse(body).as_ref().map(parts_of);
    }
    let is_multipart = content_type
        .get(..10)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("multipart/"));
    if !is_multipart || content_type.contains(char::is_control) {
        return None;
    }
    let head = format!("Content-Type: {content_type}\r\n\r\n");
    let message = [head.as_bytes(), body].concat();
    let message = MessageParser::default().parse(&message)?;
    if !matches!(message.root_part().body, PartType::Multipart(_)) {
        return None;
    }
    Some(parts_of(&message))
}

fn parts_of(message: &Message<'_>) -> Parts {
    Parts {
        text: text_of(message),
        is_lossy: false,
        attachments: message
            .attachments()
            .take(ATTACHMENTS_MAX)
            .map(attachment)
            .collect(),
    }
}

fn text_of(message: &Message<'_>) -> String {
    let texts = (0..message.text_body_count()).filter_map(|at| message.body_text(at));
    texts.collect::<Vec<_>>().join("\n")
}

fn attachment(part: &MessagePart<'_>) -> Attachment {
    let content_type = part.content_type().map_or_else(
        || "application/octet-stream".to_owned(),
        |told| match told.subtype() {
            Some(subtype) => format!("{}/{subtype}", told.ctype()),
            None => told.ctype().to_owned(),
        },
    );
    Attachment {
        name: part.attachment_name().unwrap_or_default().to_owned(),
        content_type,
        bytes: part.contents().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(name: &str, bytes: &[u8]) -> Attachment {
        Attachment {
            name: name.to_owned(),
            content_type: "application/octet-stream".to_owned(),
            bytes: bytes.to_vec(),
        }
    }

    #[test]
    fn what_is_no_multipart_has_no_parts() {
        assert_eq!(unpack("text/plain", b"--x\n\nhi\n--x--"), None);
        assert_eq!(unpack("multi", b""), None);
        assert_eq!(unpack("multipart/mixed; boundary=x\r\nTo: bob", b""), None);
    }

    #[test]
    fn parts_of_others_are_read() {
        let body = b"--x\r\nContent-Type: text/html\r\n\r\n<p>hi <b>there</b></p>\r\n--x\r\n\
            Content-Type: image/png; name=\"a.png\"\r\nContent-Transfer-Encoding: base64\r\n\r\naGk=\r\n--x--\r\n";
        let parts = unpack("Multipart/Mixed; boundary=x", body).unwrap();
        assert_eq!(parts.text.trim(), "hi there");
        assert_eq!(parts.attachments.len(), 1);
        let image = &parts.attachments[0];
        assert_eq!(
            (&*image.name, &*image.content_type, &*image.bytes),
            ("a.png", "image/png", &b"hi"[..])
        );
    }

    #[test]
    fn a_whole_message_is_read_as_one() {
        let text = b"Subject: x\nContent-Type: text/html\n\n<p>hi</p>\n";
        let read = parts(1, "Message/RFC822; x=y", text);
        assert_eq!((read.text.trim(), read.attachments.len()), ("hi", 0));
        let file = b"Content-Type: application/pdf; name=a.pdf\nContent-Transfer-Encoding: base64\n\naGk=\n";
        let read = parts(1, "message/rfc822", file);
        assert_eq!(read.attachments[0].bytes, b"hi");
    }

    proptest! {
        #[test]
        fn what_is_packed_comes_back(
            text in "[^\\r]{0,300}",
            names in prop::collection::vec("[^\\pC\"\\\\]{1,40}", 1..4),
            bytes in prop::collection::vec(any::<u8>(), 0..2_000),
        ) {
            let files: Vec<_> = names.iter().map(|name| file(name.trim(), &bytes)).collect();
            let (content_type, body) = pack(&text, files.clone()).unwrap();
            let parts = unpack(&content_type, &body).unwrap();
            let read = parts.text.replace("\r\n", "\n");
            prop_assert_eq!(read.trim_end(), text.trim_end());
            prop_assert_eq!(parts.attachments, files);
        }

        #[test]
        fn nothing_stops_it(body: Vec<u8>) {
            unpack("multipart/mixed; boundary=x", &body);
        }
    }
}

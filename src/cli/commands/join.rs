//! `mailctl join CODE`: takes up an invitation.

use std::io::BufRead;

use super::{Context, login, user_name};
use crate::cli::args::Join;
use crate::cli::error::{CliError, url_text};
use crate::cli::i18n::tr;
use crate::client::home::Place;
use crate::protocol::names::UserName;
use crate::protocol::url::ServerUrl;

/// What an invitation says.
#[derive(Debug, PartialEq, Eq)]
struct Invitation {
    server: Option<ServerUrl>,
    code: String,
    user: Option<String>,
}

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, args: &Join) -> Result<(), CliError> {
    let text = if args.code == "-" {
        read_line()?
    } else {
        args.code.clone()
    };
    let invitation = parse(text.trim())?;
    let user = match args.user.clone().or(invitation.user) {
        Some(user) => user_name(&user)?,
        None => ask_name(context)?,
    };
    let place = match (context.named_place()?, invitation.server) {
        (Some(named), _) => named,
        (None, Some(url)) => Place { url, source: None },
        (None, None) => login::place(context)?,
    };
    let newcomer = login::Newcomer {
        code: Some(invitation.code),
        device_name: args.device_name.clone(),
    };
    login::enter(context, &place, &user, Vec::new(), newcomer)
}

/// Asks for the name that the code leaves open.
fn ask_name(context: &mut Context<'_>) -> Result<UserName, CliError> {
    if !context.ui.may_ask() {
        return Err(CliError::usage(tr!("who will you be?")).hint(tr!("mailctl join CODE NAME")));
    }
    let name = context.ui.ask(tr!("your name here will be:"));
    user_name(&name)
}

fn read_line() -> Result<String, CliError> {
    let mut line = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut line)
        .map_err(|e| CliError::io(tr!("read stdin"), &e))?;
    Ok(line)
}

fn parse(text: &str) -> Result<Invitation, CliError> {
    if !text.starts_with("correio://") {
        return Ok(Invitation {
            server: None,
            code: text.to_owned(),
            user: None,
        });
    }
    let mut url = ServerUrl::parse(text).map_err(|e| CliError::usage(url_text(&e)))?;
    let code = url.code.take().ok_or_else(|| {
        CliError::usage(tr!("that is a server's address without a code"))
            .hint(tr!("with open registration: mailctl login USER"))
    })?;
    let query = text.split_once('?').map_or("", |(_, query)| query);
    let user = query.split('&').find_map(|pair| pair.strip_prefix("user="));
    Ok(Invitation {
        server: Some(url),
        code,
        user: user.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invitation_names_server_code_and_user() {
        let url = format!("correio://lab:5570?key={}", "ab".repeat(32));
        let server = ServerUrl::parse(&url).unwrap();
        let full = parse(&format!("{url}&code=c0de&user=joão")).unwrap();
        assert_eq!(
            full,
            Invitation {
                server: Some(server),
                code: "c0de".into(),
                user: Some("joão".into())
            }
        );
        assert_eq!(parse("c0de").unwrap().server, None);
        assert!(parse(&url).is_err(), "no code");
        assert!(parse("correio://lab").is_err());
    }
}

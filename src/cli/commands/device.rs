//! `mailctl device`: the machines that are this user.

use serde_json::{Value, json};

use super::{Context, within};
use crate::cli::args::{Device as Verb, DeviceRename, DeviceRm};
use crate::cli::error::CliError;
use crate::cli::i18n::{tr, tr_later};
use crate::cli::json::object;
use crate::cli::show::{self, Column, counted};
use crate::cli::untrusted::visible;
use crate::client::session::Session;
use crate::protocol::codes::{Code, exit};
use crate::protocol::reply::DeviceRow;

const DEVICES: &[Column] = &[
    (">N", "device"),
    (tr_later!("Name"), "name"),
    (tr_later!("This"), "this"),
    (tr_later!("Online"), "online"),
    (">Waiting", "waiting"),
    (tr_later!("Last seen"), "last_seen"),
    (tr_later!("Since"), "since"),
];

/// Runs the verb.
pub(crate) fn run(context: &mut Context<'_>, verb: &Verb) -> Result<(), CliError> {
    match verb {
        Verb::Ls => list(context),
        Verb::Rm(args) => remove(context, args),
        Verb::Rename(args) => rename(context, args),
    }
}

fn list(context: &mut Context<'_>) -> Result<(), CliError> {
    let devices = within(context, Session::devices)?;
    let rows: Vec<Value> = devices.iter().map(row).collect();
    show::rows(context.ui, DEVICES, &rows)
}

fn row(device: &DeviceRow) -> Value {
    json!({
        "device": device.device,
        "name": device.name,
        "since": device.since,
        "last_seen": device.last_seen,
        "online": device.online,
        "this": device.this,
        "waiting": device.waiting,
    })
}

/// Removes a device, having said which one it is.
fn remove(context: &mut Context<'_>, args: &DeviceRm) -> Result<(), CliError> {
    let devices = within(context, Session::devices)?;
    let meant = devices.into_iter().find(|row| row.device == args.device);
    let Some(device) = meant else {
        let text = tr!("you have no device {}", args.device);
        let error = CliError::new(Code::NoSuchDevice.word(), exit::NO_USER, text);
        return Err(error.hint(tr!("yours: mailctl device ls")));
    };
    if device.this {
        let text = tr!("device {} is this one", args.device);
        let error = CliError::new(Code::Denied.word(), exit::DENIED, text);
        return Err(error
            .hint(tr!("to leave with this device: mailctl logout --forget"))
            .hint(tr!(
                "to remove it when it is lost: mailctl device rm, on another one"
            )));
    }
    agree(context, &device, args.yes)?;
    within(context, |session| session.remove_device(args.device))?;
    context.ui.result(
        &object(json!({"device": device.device, "name": device.name, "removed": true})),
        tr!(
            "removed device {}; its key is worth nothing any more",
            called(&device)
        ),
    )
}

fn called(device: &DeviceRow) -> String {
    if device.name.is_empty() {
        return device.device.to_string();
    }
    format!("{} ({})", device.device, visible(&device.name))
}

/// Says what is lost, and goes on only if that is wanted.
fn agree(context: &mut Context<'_>, device: &DeviceRow, yes: bool) -> Result<(), CliError> {
    if yes {
        return Ok(());
    }
    let waiting = counted(device.waiting, "mail");
    let called = called(device);
    context.ui.note(tr!(
        "this ends what device {} has open, and it can never log in again; {} waiting for it alone",
        called,
        waiting
    ));
    if !context.ui.may_ask() {
        let hint = tr!("mailctl device rm {} --yes", device.device);
        return Err(CliError::usage(tr!("nothing was removed: this needs a yes")).hint(hint));
    }
    if context.ui.confirm(tr!("Remove it?")) {
        return Ok(());
    }
    Err(CliError::new(
        "cancelled",
        exit::USAGE,
        tr!("nothing was removed"),
    ))
}

fn rename(context: &mut Context<'_>, args: &DeviceRename) -> Result<(), CliError> {
    if args.name.trim().is_empty() {
        let text = tr!("a device needs a name");
        let error = CliError::new(Code::BadName.word(), exit::DATA, text);
        return Err(error.hint(tr!("mailctl device rename {} NAME", args.device)));
    }
    within(context, |session| {
        session.rename_device(args.device, &args.name)
    })?;
    context.ui.result(
        &object(json!({"device": args.device, "name": args.name})),
        tr!(
            "device {} is called {} now",
            args.device,
            visible(&args.name)
        ),
    )
}

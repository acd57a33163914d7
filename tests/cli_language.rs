//! `mailctl` in Portuguese, as its users meet it: chosen by the locale, told by the same server, and never under
//! `--json`.

mod common;

use common::ctl::{Ctl, Run};
use common::server::Server;

/// Runs with these variables in the environment.
fn run(ctl: &Ctl, locale: &[(&str, &str)], args: &[&str]) -> Run {
    let mut command = ctl.command(args);
    command.envs(locale.iter().copied());
    Run::from(command.output().expect("mailctl starts"))
}

const BRAZIL: &[(&str, &str)] = &[("LANG", "pt_BR.UTF-8")];

#[test]
fn a_walk_in_portuguese() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    bob.ok(&["login", "bob"]);
    let news = "tópico      news\nassinado    sim\n";
    let nobody = "bbo: não há usuário nem tópico \"bbo\"; você quis dizer bob?\n  tópicos: mailctl topic ls\n";
    for (args, code, said) in [
        (
            &["login", "ana", "--topic", "news"][..],
            0,
            "você entrou como ana em tcp://",
        ),
        (
            &["topic", "ls"],
            0,
            "Tópico  Assinado  Esperando\nnews    sim               0\n",
        ),
        (&["topic", "info", "news"], 0, news),
        (
            &["topic", "join", "bob"],
            65,
            "erro[is_a_user]: bob é um usuário: envie para bob, não há o que assinar\n",
        ),
        (&["send", "bbo", "-b", "oi"], 67, nobody),
        (
            &["send", "@bob", "-s", "Almoço", "-b", "À uma?"],
            0,
            "enviada a bob: 1\n",
        ),
        (
            &["block", "bob"],
            0,
            "bob foi bloqueado; para desfazer: mailctl unblock bob\n",
        ),
        (&["unblock", "bob"], 0, "bob não está mais bloqueado\n"),
        (&["chat", "requests"], 0, "ninguém pede uma conversa\n"),
        (
            &["chat", "accept"],
            67,
            "erro[no_invitation]: não há convite\n  quem convida: mailctl chat requests",
        ),
        (
            &["use", "carla"],
            78,
            "carla não entrou aqui; entre com: mailctl login carla\n",
        ),
        (
            &["login", "#ana"],
            65,
            "erro[bad_name]: #ana: um nome não começa com '#'\n",
        ),
        (
            &["sned"],
            64,
            "erro[usage]: comando desconhecido 'sned'\n  dica: ",
        ),
        (
            &["send"],
            64,
            "<DESTINO>...\n  Uso: mailctl send <DESTINO>...\n",
        ),
        (&["topic", "leave", "news"], 0, "news não é mais assinado\n"),
        (
            &["logout"],
            0,
            "ana saiu; a chave, os tópicos e as mensagens que esperam ficam\n",
        ),
    ] {
        let run = run(&ana, BRAZIL, args);
        let all = run.out + &run.err;
        assert_eq!(run.code, code, "{args:?}: {all}");
        assert!(all.contains(said), "{args:?}: {all}");
    }
}

#[test]
fn the_first_variable_that_says_anything_decides() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    let greets = |locale: &[(&str, &str)]| {
        let run = run(&ana, locale, &["whoami", "--help"]);
        assert_eq!(run.code, 0, "{}", run.err);
        run.out.lines().next().unwrap_or_default().to_owned()
    };
    let (english, portuguese) = ("Show who you are, and where", "Mostra quem você é, e onde");
    assert_eq!(greets(&[]), english);
    assert_eq!(greets(&[("LANG", "pt_PT")]), portuguese);
    assert_eq!(greets(&[("LANG", "pt_BR"), ("LC_MESSAGES", "C")]), english);
    assert_eq!(
        greets(&[
            ("LANG", "C"),
            ("LC_ALL", "pt_BR.UTF-8"),
            ("LC_MESSAGES", "en")
        ]),
        portuguese
    );
    assert_eq!(
        greets(&[("MAILCTL_LANG", "pt"), ("LC_ALL", "en_US.UTF-8")]),
        portuguese
    );
    assert_eq!(
        greets(&[("MAILCTL_LANG", "en"), ("LANG", "pt_BR")]),
        english
    );
    assert_eq!(
        greets(&[("MAILCTL_LANG", ""), ("LANG", "pt_BR")]),
        portuguese
    );
}

#[test]
fn programs_read_english_everywhere() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    for args in [
        &["--json", "send", "bbo", "-b", "oi"][..],
        &["--json", "sned"],
        &["--json", "use", "carla"],
        &["--json", "refresh"],
    ] {
        let (here, there) = (run(&ana, BRAZIL, args), run(&ana, &[], args));
        assert_eq!(
            (here.code, here.out, here.err),
            (there.code, there.out, there.err),
            "{args:?}"
        );
    }
}

/// What is said in English by libraries, by the system, or by layers that know one language.
const ENGLISH: &[&str] = &[
    " is no ",
    " is not ",
    "cannot",
    "expected",
    "invalid",
    "Invalid",
    "unknown",
    "os error",
    "No such",
    "Is a ",
    "Not a ",
    "supported",
    "missing",
    "nothing",
    "means",
    "takes",
    "there is",
    "others",
    "hidden",
    "until",
    "Until",
    "Device",
    "error",
    "warning",
    " the ",
    " and ",
    " of ",
    " with ",
    " file",
    "folder",
];

#[track_caller]
fn is_portuguese(run: &Run) {
    let all = format!("{}{}", run.out, run.err);
    for english in ENGLISH {
        assert!(!all.contains(english), "{english:?} in: {all}");
    }
}

/// What is refused for reasons that others have the words of.
const WRONG: &[&str] = &[
    "search since:never",
    "search is:blue",
    "search has:hat",
    "search -",
    "send bob -b x --ttl never",
    "send bob -b x --ttl 1x",
    "send bob -b x --undo 1x",
    "send bob -b x --at 25:99",
    "send bob -b x --at 2020-01-01T00:00",
    "chat bob --wait soon",
    "--timeout x whoami",
    "topic join news --from yesterday",
    "refresh --limit x",
    "send bob -f /nowhere",
    "send bob -a /dev/zero",
    "send bob -f /dev/zero",
    "import maildir /nowhere",
    "import mbox /nowhere",
    "import jsonl /nowhere",
    "--server /nowhere whoami",
    "--server correio://x whoami",
    "--server correio://h:1?key=0 whoami",
    "topic join a//b",
    "invite bob",
    "man nonsense",
    "device rename 1 ",
    "outbox retry 9",
    "draft send 9",
    "forward 9 bob",
    "reply 9 --edit",
    "save 9",
    "--passphrase-file /nowhere whoami",
];

/// What people are shown, with its headings.
const TABLES: &[&str] = &[
    "who",
    "who bob",
    "invite ls",
    "device",
    "outbox",
    "draft",
    "topic ls",
    "context",
    "topic leave news",
    "chat requests",
    "mute",
    "block",
    "status",
    "receipts",
    "admin user ls",
    "admin queue ls",
    "admin lease ls",
    "admin session ls",
    "admin topic ls",
    "admin stats",
    "outbox retry",
];

/// Errors that another layer, a library or the system has the words of.
#[test]
fn what_others_have_to_say_is_portuguese_too() {
    let server = Server::start();
    let folder = tempfile::tempdir().expect("a temporary folder");
    let ana = Ctl::new(&server, &folder.path().join("ana"));
    ana.ok(&["login", "ana"]);
    let bob = Ctl::new(&server, &folder.path().join("bob"));
    bob.ok(&["login", "bob"]);
    bob.ok(&["who", "--hide"]);
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("it can be written");
        path.display().to_string()
    };
    let noise: Vec<u8> = (0..=255).cycle().take(300).collect();
    let noise = put("noise", &noise);
    let lines = [
        put("a", b"nonsense\n"),
        put("b", b"{\"kind\":\"mail\"}\n"),
        put("c", b"{\"kind\":\"mail\",\"body_base64\":\"@\"}\n"),
        put("d", b"{\"kind\":\"mail\",\"body\":\"x\"}\n"),
        put("e", b"[]\n"),
    ];
    let large = put(
        "f",
        &[b"From ".as_slice(), b"x\n", &vec![b'y'; 65 << 20]].concat(),
    );
    let here = folder.path().to_str().expect("a path");
    let mut fails: Vec<Vec<&str>> = WRONG.iter().map(|line| line.split(' ').collect()).collect();
    for form in ["maildir", "mbox", "jsonl"] {
        fails.push(vec!["import", form, &noise]);
        fails.push(vec!["import", form, here]);
    }
    fails.extend(lines.iter().map(|line| vec!["import", "jsonl", &**line]));
    fails.push(vec!["import", "mbox", &large]);
    fails.push(vec!["send", "bob", "-f", here]);
    fails.push(vec!["export", "mbox", &noise]);
    fails.push(vec!["man", &noise]);
    for args in fails {
        let run = run(&ana, BRAZIL, &args);
        assert_ne!(run.code, 0, "{args:?}: {}{}", run.out, run.err);
        is_portuguese(&run);
    }
    ana.ok(&["invite", "carol"]);
    ana.ok(&["send", "bob", "-b", "x", "--draft"]);
    for line in TABLES {
        let args: Vec<&str> = line.split(' ').collect();
        let run = run(&ana, BRAZIL, &args);
        assert_eq!(run.code, 0, "{args:?}: {}{}", run.out, run.err);
        is_portuguese(&run);
    }
}

//! P1, P11 and P13 of invitations, over the wire and against real processes: asked, answered, raced,
//! and killed between an accept and its reply.

mod common;

use std::net::{TcpListener, UdpSocket};
use std::time::Duration;

use common::client::{RawClient, RawReply, Trouble, Wishes};
use common::rng::Rng;
use common::server::{Place, Server};
use common::watch::Watcher;
use common::{PATIENCE, Timed, eventually, pause, scale, skip};
use correio::auth::keys::KeyPair;
use correio::protocol::codes::Code;
use correio::protocol::notice::{Notice, NoticeKey};
use correio::protocol::reply::{
    Asked, ChatRow, ChatState, Chats, Introduction, Invited, LeaseInfo,
};
use correio::protocol::request::{self, Request};
use correio::protocol::url::ServerUrl;
use serde_json::Value;

/// One device with a session and a confirmed lease.
struct Party {
    client: RawClient,
    lease: LeaseInfo,
}

fn wishes() -> Wishes {
    Wishes {
        topics: vec![],
        port: true,
    }
}

impl Party {
    /// Registers a new user.
    fn new(server: &Server, name: &str) -> Self {
        Self::standing(RawClient::user_with(server, name, wishes()))
    }

    /// Registers a new user over another way to the server.
    fn at(place: std::sync::Arc<Place>, name: &str) -> Self {
        let mut client = RawClient::connect(place, KeyPair::generate().expect("a key"));
        client.register(name, None).expect("registers");
        client.login(wishes()).expect("logs in");
        Self::standing(client)
    }

    /// Registers a further device of a user.
    fn further(&mut self, server: &Server, user: &str) -> Self {
        let make = |session| {
            Request::Invite(request::Invite {
                session,
                user: None,
                device: true,
            })
        };
        let invited: Invited = self.client.call(make).expect("invites a device");
        let mut client = RawClient::stranger(server);
        client
            .register(user, Some(&invited.code))
            .expect("a code makes a device");
        client.login(wishes()).expect("logs in");
        Self::standing(client)
    }

    fn standing(mut client: RawClient) -> Self {
        let lease = client.lease_confirmed();
        Self { client, lease }
    }

    fn ask_with(&mut self, user: &str, nonce: Option<&str>) -> Result<Asked, Trouble> {
        self.client.call(|session| {
            Request::ChatAsk(request::ChatAsk {
                session,
                user: user.parse().expect("a name"),
                host: None,
                nonce: nonce.map(str::to_owned),
            })
        })
    }

    fn ask(&mut self, user: &str) -> Asked {
        self.ask_with(user, None).expect("asked")
    }

    fn accept_request(session: String, chat: &str) -> Request {
        Request::ChatAccept(request::ChatAccept {
            session,
            chat: chat.to_owned(),
            host: None,
        })
    }

    fn accept(&mut self, chat: &str) -> Result<Introduction, Trouble> {
        self.client
            .call(|session| Self::accept_request(session, chat))
    }

    fn decline(&mut self, chat: &str) -> Result<Value, Trouble> {
        self.client.call(|session| {
            Request::ChatDecline(request::ChatDecline {
                session,
                chat: chat.to_owned(),
                busy: false,
            })
        })
    }

    fn withdraw(&mut self, chat: &str) -> Result<Value, Trouble> {
        self.client.call(|session| {
            Request::ChatWithdraw(request::ChatWithdraw {
                session,
                chat: chat.to_owned(),
            })
        })
    }

    fn chats(&mut self) -> Vec<ChatRow> {
        let make = |session| Request::Chats(request::Chats { session });
        let listed: Chats = self.client.call(make).expect("listed");
        listed.chats
    }

    /// Checks that an introduction tells the truth about this side.
    fn is_who(&self, said: &Introduction) {
        assert_eq!((said.port, said.epoch), (self.lease.port, self.lease.epoch));
        assert_eq!(said.key, hex::encode(self.client.key.public));
        assert_eq!(said.durability, "fsync");
    }
}

fn code<T: std::fmt::Debug>(told: Result<T, Trouble>) -> Code {
    let refused = told.expect_err("refused");
    refused.code().unwrap_or_else(|| panic!("{refused:?}"))
}

/// A watcher of a client's own key and of `more`; returns once its own subscription is in force.
fn watch(server: &Server, party: &mut Party, user: &str, more: &[Vec<u8>]) -> Watcher {
    let own = party.client.log(user);
    let key = NoticeKey::from_hex(&own.key).expect("a key");
    let watcher = Watcher::connect(&server.url(), server.live_port(), &party.client.key, more);
    watcher.subscribe(&key.to_bytes());
    let granted = Notice::Granted { log: own.log };
    let (_, found) = watcher.until(PATIENCE, |notice, _| *notice == granted);
    assert!(found, "{user}'s own subscription is granted");
    watcher
}

fn is_chat(notice: &Notice, state: ChatState) -> bool {
    matches!(notice, Notice::Chat { invitation } if invitation.state == state)
}

#[test]
fn p11_an_invitation_is_told_live_answered_and_introduced_over_the_wire() {
    let _timed = Timed::start("p11_an_invitation_is_told_live_answered_and_introduced");
    let server = Server::start();
    let mut ana = Party::new(&server, "ana");
    let mut bob = Party::new(&server, "bob");
    let live = watch(&server, &mut bob, "bob", &[]);
    let anas = watch(&server, &mut ana, "ana", &[]);
    let asked = ana.ask("bob");
    assert_eq!(asked.devices.len(), 1);
    assert_eq!(asked.devices[0].key, hex::encode(bob.client.key.public));
    let (heard, found) = live.until(PATIENCE, |notice, _| is_chat(notice, ChatState::Open));
    assert!(found, "bob hears of it: {heard:?}");
    let beat = bob.client.heartbeat(0).expect("answered");
    assert_eq!(
        beat.chats,
        std::slice::from_ref(&asked.row),
        "and would have, without it"
    );
    assert_eq!(bob.chats(), beat.chats);
    let introduction = bob.accept(&asked.row.chat).expect("accepted");
    ana.is_who(&introduction);
    assert_eq!(introduction.user, "ana");
    assert_eq!(introduction.host.as_deref(), Some("127.0.0.1"));
    let (heard, found) = anas.until(PATIENCE, |notice, _| is_chat(notice, ChatState::Accepted));
    assert!(found, "ana hears of the answer: {heard:?}");
    assert_eq!(ana.ask("bob").row.state, ChatState::Open, "the next chat");
}

#[test]
fn p11_of_two_users_who_ask_each_other_and_of_two_devices_one_wins() {
    let _timed = Timed::start("p11_of_two_users_who_ask_each_other_and_of_two_devices_one_wins");
    let server = Server::start();
    let mut ana = Party::new(&server, "ana");
    let mut bob = Party::new(&server, "bob");
    let mut phone = bob.further(&server, "bob");
    for _ in 0..10 {
        let ask = |party: &mut Party, user: &str| {
            let request = Request::ChatAsk(request::ChatAsk {
                session: party.client.session.clone(),
                user: user.parse().expect("a name"),
                host: None,
                nonce: None,
            });
            party.client.post(&request, None)
        };
        let (of_ana, of_bob) = (ask(&mut ana, "bob"), ask(&mut bob, "ana"));
        let reply = |party: &mut Party, id| -> Asked {
            let reply = party.client.await_reply(id, PATIENCE).expect("answered");
            reply.decode().expect("asked")
        };
        let (anas, bobs) = (reply(&mut ana, of_ana), reply(&mut bob, of_bob));
        assert_eq!(anas.row.chat, bobs.row.chat, "one chat");
        let both = (anas.introduction, bobs.introduction);
        match both {
            (None, Some(to_bob)) => ana.is_who(&to_bob),
            (Some(to_ana), None) => bob.is_who(&to_ana),
            other => panic!("one waits, one connects: {other:?}"),
        }
    }
    for _ in 0..10 {
        let chat = ana.ask("bob").row.chat;
        let accept = |party: &mut Party| {
            let request = Party::accept_request(party.client.session.clone(), &chat);
            party.client.post(&request, None)
        };
        let ids = (accept(&mut bob), accept(&mut phone));
        let told = |party: &mut Party, id| -> Result<Introduction, Trouble> {
            let reply = party.client.await_reply(id, PATIENCE).expect("answered");
            reply.decode()
        };
        match (told(&mut bob, ids.0), told(&mut phone, ids.1)) {
            (Ok(won), Err(lost)) | (Err(lost), Ok(won)) => {
                ana.is_who(&won);
                assert_eq!(lost.code(), Some(Code::Taken));
            }
            other => panic!("one wins: {other:?}"),
        }
    }
}

/// Rounds of killing the server; `CORREIO_ACCEPT_KILLS` for more.
const KILLS: usize = 12;

#[test]
fn p13_a_server_killed_between_an_accept_and_its_reply_lets_one_device_win() {
    let _timed = Timed::start("p13_a_server_killed_between_an_accept_and_its_reply");
    let mut server = Server::start();
    let mut rng = Rng::announced("accept and kill");
    let mut ana = Party::new(&server, "ana");
    let mut bob = Party::new(&server, "bob");
    let mut phone = bob.further(&server, "bob");
    let (mut before, mut after) = (0, 0);
    for _ in 0..scale("CORREIO_ACCEPT_KILLS", KILLS) {
        let chat = ana.ask("bob").row.chat;
        let request = Party::accept_request(bob.client.session.clone(), &chat);
        let id = bob.client.post(&request, None);
        pause(Duration::from_micros(rng.below(6_000)));
        server.kill9();
        let told: Option<RawReply> = bob.client.take(Duration::from_millis(1));
        let told = told.filter(|reply| reply.id == id.to_string().as_bytes());
        server.restart();
        // The phone asks first: it wins unless bob's accept was on disk.
        let phones = phone.accept(&chat);
        let bobs = bob.accept(&chat);
        match (&phones, &bobs) {
            (Ok(won), Err(_)) => {
                before += 1;
                ana.is_who(won);
                assert!(told.is_none(), "bob was told that he won, and then did not");
            }
            (Err(_), Ok(won)) => {
                after += 1;
                ana.is_who(won);
                let first = told.map(|reply| reply.decode::<Introduction>().expect("he won"));
                assert!(first.is_none_or(|first| first == *won));
            }
            other => panic!("one wins: {other:?}"),
        }
        let lost = phones.err().or(bobs.err()).expect("one lost");
        assert_eq!(lost.code(), Some(Code::Taken));
        let rows = ana.chats();
        let row = rows
            .iter()
            .find(|row| row.chat == chat)
            .expect("it is hers");
        assert_eq!(row.state, ChatState::Accepted);
    }
    println!("killed before the commit {before} times, after it {after} times");
}

#[test]
fn p13_an_ask_retried_over_a_kill_is_one_invitation() {
    let _timed = Timed::start("p13_an_ask_retried_over_a_kill_is_one_invitation");
    let mut server = Server::start();
    let mut rng = Rng::announced("ask and kill");
    let mut ana = Party::new(&server, "ana");
    let mut bob = Party::new(&server, "bob");
    for round in 0..scale("CORREIO_ASK_KILLS", 6) {
        let nonce = format!("round {round}");
        let request = Request::ChatAsk(request::ChatAsk {
            session: ana.client.session.clone(),
            user: "bob".parse().expect("a name"),
            host: None,
            nonce: Some(nonce.clone()),
        });
        ana.client.post(&request, None);
        pause(Duration::from_micros(rng.below(6_000)));
        server.kill9();
        server.restart();
        let asked = ana.ask_with("bob", Some(&nonce)).expect("asked");
        let open = bob.chats();
        assert_eq!(
            open,
            std::slice::from_ref(&asked.row),
            "one, whether the first was lost or not"
        );
        bob.accept(&asked.row.chat).expect("accepted");
        let again = ana.ask_with("bob", Some(&nonce)).expect("answered");
        assert_eq!(again.row.chat, asked.row.chat);
        assert_eq!(again.row.state, ChatState::Accepted);
        assert_eq!(bob.chats(), []);
    }
}

#[test]
fn p11_no_subscription_and_no_verb_shows_a_chat_to_a_third_user() {
    let _timed = Timed::start("p11_no_subscription_and_no_verb_shows_a_chat_to_a_third_user");
    let server = Server::start();
    let mut ana = Party::new(&server, "ana");
    let mut bob = Party::new(&server, "bob");
    let mut eve = Party::new(&server, "eve");
    let key = |party: &mut Party, user: &str| {
        let key = NoticeKey::from_hex(&party.client.log(user).key).expect("a key");
        key.to_bytes().to_vec()
    };
    let mut greedy = vec![Vec::new(), b"bob".to_vec(), vec![0; 8]];
    for own in [key(&mut ana, "ana"), key(&mut bob, "bob")] {
        greedy.extend([own[..8].to_vec(), own]);
    }
    let eves = watch(&server, &mut eve, "eve", &greedy);
    let bobs = watch(&server, &mut bob, "bob", &[]);
    let chat = ana.ask("bob").row.chat;
    for _ in 0..2 {
        assert_eq!(code(eve.accept(&chat)), Code::NoInvitation);
        assert_eq!(code(eve.decline(&chat)), Code::NoInvitation);
        assert_eq!(code(eve.withdraw(&chat)), Code::NoInvitation);
        assert_eq!(eve.chats(), []);
        bob.accept(&chat).expect("accepted");
    }
    let (_, found) = bobs.until(PATIENCE, |notice, _| is_chat(notice, ChatState::Accepted));
    assert!(found, "bob heard it, so it was published");
    // One XPUB publishes everything in order: what comes after is the proof of silence before.
    let fence = eve.client.mail("eve", b"fence");
    let is_fence = |notice: &Notice, _: Option<&[u8]>| matches!(notice, Notice::Mail { envelope, .. } if envelope.id == fence);
    let (heard, found) = eves.until(PATIENCE, is_fence);
    assert!(found, "eve hears her own");
    let chats = heard
        .iter()
        .filter(|(notice, _)| matches!(notice, Notice::Chat { .. }));
    assert_eq!(chats.count(), 0, "{heard:?}");
}

#[test]
fn p06_a_dead_askers_invitation_is_withdrawn_when_its_lease_expires() {
    let _timed = Timed::start("p06_a_dead_askers_invitation_is_withdrawn");
    let server = Server::start_with(4, &["--lease-ttl", "1500ms"]);
    let mut bob = Party::new(&server, "bob");
    let mut ana = Party::new(&server, "ana");
    let chat = ana.ask("bob").row.chat;
    drop(ana);
    let ended = eventually("the end of the invitation", || {
        let rows = bob.chats();
        let row = rows
            .iter()
            .find(|row| row.chat == chat)
            .expect("open or missed");
        (row.state != ChatState::Open).then_some(row.state)
    });
    assert_eq!(ended, ChatState::Withdrawn);
    assert_eq!(code(bob.accept(&chat)), Code::NoInvitation);
}

#[test]
fn p07_an_invitation_runs_out_and_is_missed() {
    let _timed = Timed::start("p07_an_invitation_runs_out_and_is_missed");
    let mut server = Server::start_with(4, &["--invitation-ttl", "1500ms"]);
    let mut ana = Party::new(&server, "ana");
    let mut bob = Party::new(&server, "bob");
    let asked = ana.ask("bob");
    assert_eq!(asked.ttl_ms, 1_500);
    server.kill9();
    server.restart();
    eventually("its end", || {
        let rows = ana.chats();
        (rows[0].state == ChatState::Expired).then_some(())
    });
    assert_eq!(bob.chats()[0].state, ChatState::Expired);
    let chats = vec![asked.row.chat];
    let seen = |session| {
        let chats = chats.clone();
        Request::ChatSeen(request::ChatSeen { session, chats })
    };
    bob.client.call::<Value>(seen).expect("seen");
    assert_eq!(bob.chats(), []);
}

#[test]
fn a_blocked_user_meets_a_closed_door_over_a_restart() {
    let _timed = Timed::start("a_blocked_user_meets_a_closed_door_over_a_restart");
    let mut server = Server::start();
    let mut ana = Party::new(&server, "ana");
    let mut bob = Party::new(&server, "bob");
    let block = |session| {
        Request::Block(request::Block {
            session,
            user: "ana".parse().expect("a name"),
        })
    };
    bob.client.call::<Value>(block).expect("blocked");
    server.kill9();
    server.restart();
    assert_eq!(code(ana.ask_with("bob", None)), Code::PeerBusy);
    let outcome = ana.client.send(&["bob"], b"let me in").expect("answered");
    assert_eq!(common::client::refusal(&outcome[0]), Some(Code::Blocked));
    assert_eq!(bob.client.log("bob").head, 0);
}

// -- where the sides are --

/// An address of this machine that is not its loopback, if it has one.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Connecting a datagram socket sends nothing.
    socket.connect("198.51.100.1:9").ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_loopback() && !ip.is_unspecified()).then(|| ip.to_string())
}

#[test]
fn a_host_is_where_the_server_saw_the_client() {
    let server = Server::start();
    let mut ana = Party::at(Place::fixed_from(server.url(), "127.0.0.2"), "ana");
    let mut bob = Party::new(&server, "bob");
    let chat = ana.ask("bob").row.chat;
    let said = bob.accept(&chat).expect("accepted");
    assert_eq!(said.host.as_deref(), Some("127.0.0.2"));
    assert_eq!(said.own_host.as_deref(), Some("127.0.0.1"));
}

#[test]
fn a_host_beside_the_server_is_told_to_others_as_the_servers() {
    let both_kinds = TcpListener::bind("[::]:0").is_ok();
    let Some(address) = own_address().filter(|_| both_kinds) else {
        let reason = "this machine has no IPv6 or no address but its loopback";
        return skip(
            "a_host_beside_the_server_is_told_to_others_as_the_servers",
            reason,
        );
    };
    let mut server = Server::start();
    server.kill9();
    // On all addresses of both kinds: an IPv4 client is seen as one in IPv6.
    server.set_host("[::]");
    server.set_args(&["--registration", "open", "--advertise", "127.0.0.1"]);
    server.restart();
    let at = |host: &str| {
        Place::fixed(ServerUrl {
            host: host.to_owned(),
            ..server.url()
        })
    };
    let mut beside = Party::at(at("127.0.0.1"), "ana");
    let mut away = Party::at(at(&address), "bob");
    let chat = beside.ask("bob").row.chat;
    let said = away.accept(&chat).expect("accepted");
    assert_eq!(said.host, None, "where bob reaches the server");
    assert_eq!(said.own_host.as_deref(), Some(address.as_str()));
    let chat = away.ask("ana").row.chat;
    let said = beside.accept(&chat).expect("accepted");
    assert_eq!(said.host.as_deref(), Some(address.as_str()));
    assert_eq!(said.own_host, None);
}

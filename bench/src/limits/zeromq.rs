//! ZeroMQ by itself over TCP on the loopback, 512-byte messages, each end in its own process,
//! plain and with CURVE.

use crate::child::Helper;
use crate::report::{Run, Who, emit};
use crate::stat::{Latencies, shared_clock_ns};
use crate::work::Scale;
use anyhow::{Context as _, Result, bail};
use rustix::event::{Timespec, epoll};
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use zmq::{Context, CurveKeyPair, DONTWAIT, Socket, z85_decode, z85_encode};

const BODY: usize = 512;
const SUBSCRIBERS: usize = 1000;

fn who() -> Who {
    let (a, b, c) = zmq::version();
    Who {
        peer: "zmq".into(),
        version: format!("libzmq {a}.{b}.{c}"),
        ack_means: "nothing: memory to memory".into(),
        disk_probe: f64::NAN,
    }
}

/// Bind on a free port; with CURVE, as its server. Gives the end point and the public key ("-"
/// without CURVE).
fn bind(socket: &Socket, curve: bool) -> Result<(String, String)> {
    let mut key = "-".to_string();
    if curve {
        let pair = CurveKeyPair::new()?;
        socket.set_curve_server(true)?;
        socket.set_curve_secretkey(&pair.secret_key)?;
        key = z85_encode(&pair.public_key)?;
    }
    socket.bind("tcp://127.0.0.1:*")?;
    let end = socket
        .get_last_endpoint()?
        .map_err(|_| anyhow::anyhow!("end point is not text"))?;
    Ok((end, key))
}

fn connect(socket: &Socket, end: &str, key: &str) -> Result<()> {
    if key != "-" {
        let pair = CurveKeyPair::new()?;
        socket.set_curve_serverkey(&z85_decode(key)?)?;
        socket.set_curve_publickey(&pair.public_key)?;
        socket.set_curve_secretkey(&pair.secret_key)?;
    }
    socket.connect(end)?;
    Ok(())
}

fn say(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}")?;
    out.flush()?;
    Ok(())
}

pub fn run(case: &str, s: Scale) -> Result<()> {
    for curve in [false, true] {
        match case {
            "push-pull" => push_pull(curve, s)?,
            "dealer-router" => dealer_router(curve, s)?,
            "xpub-sub" => xpub_sub(curve, s)?,
            _ => bail!("unknown case"),
        }
    }
    Ok(())
}

pub fn child(role: &str, words: &[String]) -> Result<()> {
    let arg = |i: usize| words.get(i).map(String::as_str).context("too few words");
    match role {
        "zmq-pull" => pull(arg(0)? == "curve", arg(1)?.parse()?),
        "zmq-router" => router(arg(0)? == "curve"),
        "zmq-subs" => subs(arg(0)?, arg(1)?, arg(2)?.parse()?),
        _ => bail!("unknown child role {role}"),
    }
}

fn kind(curve: bool) -> &'static str {
    if curve { "curve" } else { "plain" }
}

fn push_pull(curve: bool, s: Scale) -> Result<()> {
    let mut runs = Vec::new();
    for _ in 0..s.runs {
        let mut far = Helper::start(&["zmq-pull", kind(curve), &s.seconds.to_string()])?;
        let line = far.line()?;
        let (end, key) = line.split_once(' ').context("short line")?;
        let ctx = Context::new();
        let push = ctx.socket(zmq::PUSH)?;
        push.set_sndtimeo(100)?;
        push.set_linger(0)?;
        connect(&push, end, key)?;
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let reader = std::thread::spawn(move || {
            let got = far.numbers();
            told.store(true, Ordering::SeqCst);
            got
        });
        let body = [7u8; BODY];
        while !stop.load(Ordering::Relaxed) {
            match push.send(&body[..], 0) {
                Ok(()) | Err(zmq::Error::EAGAIN) => {}
                Err(e) => return Err(e.into()),
            }
        }
        let got = reader.join().expect("reader")?;
        let run: Run = vec![("msgs_per_s", got[0])];
        runs.push(run);
    }
    emit(&who(), "push-pull", kind(curve), &runs, "");
    Ok(())
}

/// Count what arrives for the given time, after half a second to warm up.
fn pull(curve: bool, seconds: f64) -> Result<()> {
    let ctx = Context::new();
    let pull = ctx.socket(zmq::PULL)?;
    let (end, key) = bind(&pull, curve)?;
    say(&format!("{end} {key}"))?;
    let mut msg = zmq::Message::new();
    pull.recv(&mut msg, 0)?;
    let warm = Instant::now() + Duration::from_millis(500);
    while Instant::now() < warm {
        pull.recv(&mut msg, 0)?;
    }
    let start = Instant::now();
    let mut n = 0u64;
    loop {
        pull.recv(&mut msg, 0)?;
        n += 1;
        if n.is_multiple_of(256) && start.elapsed().as_secs_f64() >= seconds {
            break;
        }
    }
    say(&format!("{}", n as f64 / start.elapsed().as_secs_f64()))
}

fn dealer_router(curve: bool, s: Scale) -> Result<()> {
    for window in [1usize, 256] {
        let mut runs = Vec::new();
        for _ in 0..s.runs {
            let mut far = Helper::start(&["zmq-router", kind(curve)])?;
            let line = far.line()?;
            let (end, key) = line.split_once(' ').context("short line")?;
            let ctx = Context::new();
            let dealer = ctx.socket(zmq::DEALER)?;
            dealer.set_linger(0)?;
            dealer.set_rcvtimeo(10_000)?;
            connect(&dealer, end, key)?;
            let mut body = [7u8; BODY];
            let mut lat = Latencies::default();
            let mut msg = zmq::Message::new();
            for _ in 0..window {
                body[..8].copy_from_slice(&shared_clock_ns().to_le_bytes());
                dealer.send(&body[..], 0)?;
            }
            let warm = Instant::now() + Duration::from_millis(300);
            let mut start = None;
            loop {
                dealer.recv(&mut msg, 0)?;
                let now = Instant::now();
                match start {
                    None if now >= warm => start = Some(now),
                    Some(at) => {
                        let sent = u64::from_le_bytes(msg[..8].try_into()?);
                        lat.add_ns(shared_clock_ns() - sent);
                        if now.duration_since(at).as_secs_f64() >= s.seconds * 0.6 {
                            break;
                        }
                    }
                    None => {}
                }
                body[..8].copy_from_slice(&shared_clock_ns().to_le_bytes());
                dealer.send(&body[..], 0)?;
            }
            let wall = start.context("never started")?.elapsed().as_secs_f64();
            let n = lat.len() as f64;
            lat.sort();
            runs.push(vec![
                ("round_trips_per_s", n / wall),
                ("p50_us", lat.us(50.0)),
                ("p99_us", lat.us(99.0)),
            ]);
        }
        emit(
            &who(),
            "dealer-router",
            &format!("{} in_flight={window}", kind(curve)),
            &runs,
            "",
        );
    }
    Ok(())
}

fn router(curve: bool) -> Result<()> {
    let ctx = Context::new();
    let router = ctx.socket(zmq::ROUTER)?;
    let (end, key) = bind(&router, curve)?;
    say(&format!("{end} {key}"))?;
    loop {
        let id = router.recv_msg(0)?;
        let body = router.recv_msg(0)?;
        router.send(id, zmq::SNDMORE)?;
        router.send(body, 0)?;
    }
}

/// XPUB would drop mail for a slow subscriber; make a send wait instead.
fn no_drop(xpub: &mut Socket) -> Result<()> {
    let on: i32 = 1;
    // SAFETY: the socket is alive, and the value is an int as this option wants it.
    let rc = unsafe {
        zmq_sys::zmq_setsockopt(
            xpub.as_mut_ptr(),
            zmq_sys::ZMQ_XPUB_NODROP as i32,
            (&raw const on).cast(),
            size_of::<i32>(),
        )
    };
    if rc != 0 {
        bail!("XPUB_NODROP refused");
    }
    Ok(())
}

fn xpub_sub(curve: bool, s: Scale) -> Result<()> {
    let n = if s.runs > 1 { SUBSCRIBERS } else { 50 };
    for window in [1usize, 16] {
        let mut runs = Vec::new();
        for _ in 0..s.runs {
            let ctx = Context::new();
            let mut xpub = ctx.socket(zmq::XPUB)?;
            xpub.set_linger(0)?;
            xpub.set_backlog(2048)?;
            no_drop(&mut xpub)?;
            let (end, key) = bind(&xpub, curve)?;
            let began = Instant::now();
            let mut far = Helper::start(&["zmq-subs", &end, &key, &n.to_string()])?;
            xpub.set_rcvtimeo(30_000)?;
            // A subscription that repeats an earlier one is not told; each subscriber has a topic
            // of its own besides the common one.
            for _ in 0..n + 1 {
                xpub.recv_bytes(0).context("waiting for subscriptions")?;
            }
            let ready = began.elapsed().as_secs_f64();
            std::thread::sleep(Duration::from_millis(300));
            let mut body = [7u8; BODY];
            let (mut sent, mut whole) = (0u64, 0u64);
            let start = Instant::now();
            while start.elapsed().as_secs_f64() < s.seconds * 0.6 {
                while sent - whole < window as u64 {
                    body[0] = b'n';
                    body[8..16].copy_from_slice(&shared_clock_ns().to_le_bytes());
                    xpub.send(&body[..], 0)?;
                    sent += 1;
                }
                // The far end says "+" for each mail that all subscribers have.
                whole += far.line()?.len() as u64;
            }
            while whole < sent {
                whole += far.line()?.len() as u64;
            }
            let wall = start.elapsed().as_secs_f64();
            xpub.send("n", 0)?;
            let mut line = far.line()?;
            while line.starts_with('+') {
                line = far.line()?;
            }
            let got: Vec<f64> = line
                .split_whitespace()
                .map(|w| w.parse())
                .collect::<std::result::Result<_, _>>()?;
            if got[0] as u64 != sent * n as u64 {
                bail!("{} deliveries of {sent} mails to {n} subscribers", got[0]);
            }
            runs.push(vec![
                ("deliveries_per_s", got[0] / wall),
                ("mails_per_s", sent as f64 / wall),
                ("p50_us", got[1]),
                ("p99_us", got[2]),
                ("subscribe_s", ready),
            ]);
        }
        emit(
            &who(),
            "xpub-sub",
            &format!("{} subscribers={n} mails_in_flight={window}", kind(curve)),
            &runs,
            "all subscribers are libzmq sockets of one process",
        );
    }
    Ok(())
}

fn subs(end: &str, key: &str, n: usize) -> Result<()> {
    // A context holds at most 1,023 sockets.
    let contexts: Vec<Context> = (0..n.div_ceil(500)).map(|_| Context::new()).collect();
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut sockets = Vec::new();
    for i in 0..n {
        let sub = contexts[i / 500].socket(zmq::SUB)?;
        sub.set_subscribe(b"n")?;
        sub.set_subscribe(format!("user{i:05}").as_bytes())?;
        connect(&sub, end, key)?;
        // SAFETY: the descriptor is the socket's, which lives as long as the epoll it is added to.
        let fd = unsafe { BorrowedFd::borrow_raw(sub.get_fd()?) };
        epoll::add(
            &epoll,
            fd,
            epoll::EventData::new_u64(i as u64),
            epoll::EventFlags::IN,
        )?;
        sockets.push(sub);
    }
    let mut lat = Latencies::default();
    let mut counts = vec![0u64; n];
    // How many subscribers have received at least k mails, for the k still under way.
    let mut reached: std::collections::VecDeque<usize> = Default::default();
    let mut complete = 0u64;
    let mut over = 0usize;
    let mut events = Vec::with_capacity(n);
    let patience = Timespec {
        tv_sec: 30,
        tv_nsec: 0,
    };
    let mut msg = zmq::Message::new();
    while over < n {
        events.clear();
        let room = rustix::buffer::spare_capacity(&mut events);
        if epoll::wait(&epoll, room, Some(&patience))? == 0 {
            bail!("nothing came for 30 s");
        }
        for event in &events {
            let i = event.data.u64() as usize;
            // Reading the state takes in pending commands; then take all there is.
            while sockets[i].get_events()?.contains(zmq::POLLIN) {
                match sockets[i].recv(&mut msg, DONTWAIT) {
                    Ok(()) if msg.len() == 1 => over += 1,
                    Ok(()) => {
                        let sent = u64::from_le_bytes(msg[8..16].try_into()?);
                        lat.add_ns(shared_clock_ns().saturating_sub(sent));
                        let at = (counts[i] - complete) as usize;
                        counts[i] += 1;
                        if reached.len() <= at {
                            reached.push_back(0);
                        }
                        reached[at] += 1;
                    }
                    Err(zmq::Error::EAGAIN) => break,
                    Err(e) => return Err(e.into()),
                }
            }
        }
        let mut plus = String::new();
        while reached.front() == Some(&n) {
            reached.pop_front();
            complete += 1;
            plus.push('+');
        }
        if !plus.is_empty() {
            say(&plus)?;
        }
    }
    let total = lat.len();
    lat.sort();
    say(&format!("{total} {} {}", lat.us(50.0), lat.us(99.0)))
}

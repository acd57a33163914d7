//! The cases that are compared, each with the limit of the machine and the floor it must pass.

/// A number of a result line.
#[derive(Clone, Copy)]
pub struct At {
    /// Who was measured.
    pub peer: &'static str,
    /// The workload.
    pub workload: &'static str,
    /// The case, word for word.
    pub case: &'static str,
    /// The number's name.
    pub metric: &'static str,
}

/// What Correio must reach.
#[derive(Clone, Copy)]
pub enum Floor {
    /// So many times what each of these peers does in the same run.
    Times(&'static [(&'static str, f64)]),
    /// No more than this.
    AtMost(f64),
    /// So many times what it does itself in another case.
    Own(&'static str, f64),
}

/// One row of the comparison.
#[derive(Clone, Copy)]
pub struct Goal {
    /// For people.
    pub title: &'static str,
    /// The workload.
    pub workload: &'static str,
    /// The case, word for word; a peer that was measured in another one (a smaller backlog) is left out.
    pub case: &'static str,
    /// The number's name.
    pub metric: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// Less of it is better.
    pub less: bool,
    /// What the machine could do at most, and what that is.
    pub limit: Option<(At, &'static str)>,
    /// What must be passed.
    pub floor: Floor,
}

const fn zmq(workload: &'static str, case: &'static str, metric: &'static str) -> At {
    At {
        peer: "zmq",
        workload,
        case,
        metric,
    }
}

const SYNC: At = At {
    peer: "disk",
    workload: "append",
    case: "append=512 fdatasync",
    metric: "syncs_per_s",
};
const ECHO: At = zmq("dealer-router", "curve in_flight=256", "round_trips_per_s");
const XPUB: &str = "curve subscribers=1000 mails_in_flight=16";
const XPUB_ONE: &str = "curve subscribers=1000 mails_in_flight=1";
const REOPEN: At = At {
    peer: "sled-fsync",
    workload: "recover",
    case: "items=1000000 items_per_sync=1024",
    metric: "open_after_kill_ms",
};
const GROUP_COMMIT: Floor = Floor::Times(&[("rabbitmq-quorum", 2.0), ("nats", 10.0)]);

const SEND: Goal = Goal {
    title: "W1 durable sends, 1 client, 1 in flight",
    workload: "w1",
    case: "clients=1 in_flight=1",
    metric: "mails_per_s",
    unit: "mails/s",
    less: false,
    limit: Some((SYNC, "fdatasync of 512 B")),
    floor: Floor::Times(&[("redis", 0.6)]),
};
const LATENCY: Goal = Goal {
    title: "W5 1,000 mails/s, send to receipt, p50",
    workload: "w5",
    case: "rate=1000/s receivers=10",
    metric: "p50_us",
    unit: "us",
    less: true,
    limit: None,
    floor: Floor::AtMost(500.0),
};
const RESTART: Goal = Goal {
    title: "W6 1,000,000 waiting, SIGKILL, until a send is acknowledged",
    workload: "w6",
    case: "backlog=1000000",
    metric: "first_send_ms",
    unit: "ms",
    less: true,
    limit: Some((REOPEN, "sled opened after SIGKILL")),
    floor: Floor::AtMost(1500.0),
};
const FAN_OUT: Goal = Goal {
    title: "W2 1,000 online subscribers, 16 mails in flight",
    workload: "w2",
    case: "subscribers=1000 mails_in_flight=16",
    metric: "deliveries_per_s",
    unit: "deliveries/s",
    less: false,
    limit: Some((zmq("xpub-sub", XPUB, "deliveries_per_s"), "raw XPUB, CURVE")),
    floor: Floor::Times(&[("redis", 0.5)]),
};

/// All rows.
pub const GOALS: &[Goal] = &[
    SEND,
    Goal {
        title: "W1 durable sends, 1 client, 256 in flight",
        case: "clients=1 in_flight=256",
        limit: Some((ECHO, "CURVE echo")),
        floor: GROUP_COMMIT,
        ..SEND
    },
    Goal {
        title: "W1 durable sends, 16 clients, 16 in flight",
        case: "clients=16 in_flight=16",
        limit: Some((ECHO, "CURVE echo")),
        floor: GROUP_COMMIT,
        ..SEND
    },
    FAN_OUT,
    Goal {
        title: "W2 1,000 online subscribers, 1 mail in flight, p50",
        case: "subscribers=1000 mails_in_flight=1",
        metric: "p50_us",
        unit: "us",
        less: true,
        limit: Some((zmq("xpub-sub", XPUB_ONE, "p50_us"), "raw XPUB, CURVE")),
        floor: Floor::AtMost(30_000.0),
        ..FAN_OUT
    },
    Goal {
        title: "W3 backlog of 100,000 received and acknowledged",
        workload: "w3",
        case: "backlog=100000",
        limit: Some((zmq("push-pull", "curve", "msgs_per_s"), "CURVE PUSH/PULL")),
        floor: Floor::Times(&[("redis", 0.6)]),
        ..SEND
    },
    Goal {
        title: "W4 publish to 10,000 offline subscribers, 1 in flight",
        workload: "w4",
        case: "offline_subscribers=10000",
        metric: "publishes_per_s_1_in_flight",
        unit: "publishes/s",
        floor: Floor::Own("offline_subscribers=1", 0.9),
        ..SEND
    },
    LATENCY,
    Goal {
        title: "W5, p99",
        metric: "p99_us",
        floor: Floor::AtMost(1200.0),
        ..LATENCY
    },
    Goal {
        title: "W5, p99.9",
        metric: "p999_us",
        floor: Floor::AtMost(6000.0),
        ..LATENCY
    },
    RESTART,
    Goal {
        title: "W6, memory then",
        metric: "rss_mib",
        unit: "MiB",
        limit: None,
        floor: Floor::AtMost(150.0),
        ..RESTART
    },
    Goal {
        title: "W7 memory per idle client, 5,000 clients",
        workload: "w7",
        case: "clients=5000",
        metric: "rss_kib_per_client",
        unit: "KiB",
        less: true,
        limit: None,
        floor: Floor::AtMost(110.0),
    },
];

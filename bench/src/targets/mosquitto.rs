//! Mosquitto: MQTT 3.1.1, QoS 1, persistent sessions. Each user subscribes to its own topic and
//! to the shared one.

use crate::server::{Server, binary, version_of};
use crate::target::{Mode, Receiver, Sender, Target, To};
use anyhow::{Result, anyhow, bail};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS, SubscribeFilter};
use rustix::process::Signal;
use std::collections::{HashMap, VecDeque};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

static CLIENT: AtomicU64 = AtomicU64::new(0);

pub struct Mosquitto {
    program: String,
    server: Server,
}

impl Mosquitto {
    pub fn new() -> Result<Self> {
        Ok(Mosquitto {
            program: binary("MOSQUITTO", "mosquitto"),
            server: Server::new("mosquitto")?,
        })
    }

    fn options(&self, id: &str, clean: bool) -> MqttOptions {
        let mut o = MqttOptions::new(id, "127.0.0.1", self.server.port);
        o.set_clean_session(clean);
        o.set_keep_alive(Duration::from_secs(600));
        o.set_inflight(2000);
        o.set_max_packet_size(1 << 20, 1 << 20);
        o
    }

    /// Connect and wait for the server's CONNACK.
    async fn connect(&self, id: &str, clean: bool, cap: usize) -> Result<(AsyncClient, EventLoop)> {
        let (client, mut events) = AsyncClient::new(self.options(id, clean), cap);
        events.network_options.set_tcp_nodelay(true);
        loop {
            if let Event::Incoming(Packet::ConnAck(_)) = events.poll().await? {
                return Ok((client, events));
            }
        }
    }
}

fn name(to: &To) -> String {
    match to {
        To::User(u) => format!("u/{u}"),
        To::Topic(t) => format!("t/{t}"),
    }
}

fn fresh_id(what: &str) -> String {
    format!("{what}-{}", CLIENT.fetch_add(1, Ordering::Relaxed))
}

#[async_trait]
impl Target for Mosquitto {
    fn peer(&self) -> String {
        "mosquitto".into()
    }
    fn version(&self) -> String {
        version_of(&self.program, &["-h"])
    }
    fn ack_means(&self) -> &'static str {
        "PUBACK: held in memory, written to disk only at autosave or exit (no fsync for each mail)"
    }
    fn fresh(&mut self) -> Result<()> {
        self.server = Server::new("mosquitto")?;
        Ok(())
    }
    fn spawn(&mut self, _mode: Mode) -> Result<()> {
        let dir = self.server.scratch.path().to_path_buf();
        let conf = dir.join("mosquitto.conf");
        std::fs::write(
            &conf,
            format!(
                "listener {} 127.0.0.1\nallow_anonymous true\nuser root\npersistence true\npersistence_location {}/\nmax_queued_messages 0\nmax_inflight_messages 1000\nset_tcp_nodelay true\nlog_type error\nlog_type warning\nlog_dest stderr\n",
                self.server.port,
                dir.display()
            ),
        )?;
        let mut cmd = Command::new(&self.program);
        cmd.arg("-c").arg(conf);
        self.server.spawn(cmd)
    }
    fn server(&mut self) -> &mut Server {
        &mut self.server
    }
    async fn ping(&self) -> Result<()> {
        self.connect(&fresh_id("ping"), true, 10).await?;
        Ok(())
    }
    async fn setup(&self, users: &[String], topic: Option<&str>) -> Result<()> {
        futures::stream::iter(users.iter().cloned().map(|user| async move {
            let (client, mut events) = self.connect(&user, false, 10).await?;
            let mut filters = vec![SubscribeFilter::new(format!("u/{user}"), QoS::AtLeastOnce)];
            if let Some(topic) = topic {
                filters.push(SubscribeFilter::new(format!("t/{topic}"), QoS::AtLeastOnce));
            }
            client.subscribe_many(filters).await?;
            loop {
                if let Event::Incoming(Packet::SubAck(_)) = events.poll().await? {
                    break;
                }
            }
            client.disconnect().await?;
            // Leave only when the server has closed the connection, so that the session is offline.
            while events.poll().await.is_ok() {}
            Ok::<(), anyhow::Error>(())
        }))
        .buffer_unordered(64)
        .try_collect::<Vec<()>>()
        .await?;
        Ok(())
    }
    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        let (client, mut events) = self.connect(&fresh_id("send"), true, 4096).await?;
        let queue: Queue = Arc::default();
        let waiting = queue.clone();
        let task = tokio::spawn(async move {
            // Requests leave in the order they were queued; a PUBACK names the packet id that the
            // client library gave on the way out.
            let mut by_id: HashMap<u16, oneshot::Sender<()>> = HashMap::new();
            loop {
                match events.poll().await {
                    Ok(Event::Outgoing(Outgoing::Publish(id))) => {
                        if let Some(done) = waiting
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .pop_front()
                        {
                            by_id.insert(id, done);
                        }
                    }
                    Ok(Event::Incoming(Packet::PubAck(ack))) => {
                        if let Some(done) = by_id.remove(&ack.pkid) {
                            done.send(()).ok();
                        }
                    }
                    Ok(_) => {}
                    Err(_) => {
                        waiting
                            .lock()
                            .unwrap_or_else(PoisonError::into_inner)
                            .clear();
                        return;
                    }
                }
            }
        });
        Ok(Arc::new(MosquittoSender {
            client,
            queue,
            task,
        }))
    }
    async fn receiver(&self, user: &str, _topic: Option<&str>) -> Result<Box<dyn Receiver>> {
        let (client, mut events) = self.connect(user, false, 1000).await?;
        let (tx, rx) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            // rumqttc acknowledges each mail as it reads it.
            while let Ok(event) = events.poll().await {
                if let Event::Incoming(Packet::Publish(mail)) = event
                    && tx.send(mail.payload).is_err()
                {
                    return;
                }
            }
        });
        Ok(Box::new(MosquittoReceiver {
            _client: client,
            rx,
            task,
        }))
    }
    async fn checkpoint(&mut self) -> Result<()> {
        // SIGUSR1: write the persistence file now. Wait until it is there and stops growing.
        let file = self.server.scratch.path().join("mosquitto.db");
        std::fs::remove_file(&file).ok();
        self.server.signal(Signal::USR1);
        let mut last = None;
        for _ in 0..600 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            let size = std::fs::metadata(&file).ok().map(|m| m.len());
            if size.is_some() && size == last {
                return Ok(());
            }
            last = size;
        }
        bail!("no persistence file was written")
    }
}

type Queue = Arc<Mutex<VecDeque<oneshot::Sender<()>>>>;

struct MosquittoSender {
    client: AsyncClient,
    queue: Queue,
    task: JoinHandle<()>,
}

impl Drop for MosquittoSender {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Sender for MosquittoSender {
    fn send(&self, to: &To, body: Bytes) -> BoxFuture<'static, Result<()>> {
        let (tx, rx) = oneshot::channel();
        // Both queues must be in the same order.
        let queued = {
            let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(tx);
            self.client
                .try_publish(name(to), QoS::AtLeastOnce, false, &body[..])
        };
        async move {
            queued?;
            rx.await.map_err(|_| anyhow!("connection lost"))
        }
        .boxed()
    }
}

struct MosquittoReceiver {
    _client: AsyncClient,
    rx: mpsc::UnboundedReceiver<Bytes>,
    task: JoinHandle<()>,
}

impl Drop for MosquittoReceiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[async_trait]
impl Receiver for MosquittoReceiver {
    async fn recv(&mut self, out: &mut Vec<Bytes>) -> Result<()> {
        if self.rx.recv_many(out, 256).await == 0 {
            bail!("connection lost");
        }
        Ok(())
    }
    async fn ack(&mut self) -> Result<()> {
        Ok(())
    }
}

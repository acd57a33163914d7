//! RabbitMQ: a durable queue for each user, a durable fanout exchange for each topic,
//! persistent messages and publisher confirms.

use crate::server::{Server, binary, free_port};
use crate::target::{Mode, Receiver, Sender, Target, To};
use anyhow::{Result, anyhow, bail};
use async_trait::async_trait;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use lapin::options::*;
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind};
use std::process::Command;
use std::sync::Arc;

pub struct Rabbit {
    name: String,
    quorum: bool,
    program: String,
    epmd_port: u16,
    server: Server,
}

impl Rabbit {
    pub fn new(name: &str, quorum: bool) -> Result<Self> {
        Ok(Rabbit {
            name: name.into(),
            quorum,
            program: binary("RABBITMQ_SERVER", "rabbitmq-server"),
            epmd_port: 0,
            server: Server::new(name)?,
        })
    }

    async fn connect(&self, frame_max: u32) -> Result<Connection> {
        let uri = format!(
            "amqp://guest:guest@127.0.0.1:{}/%2f?heartbeat=0&frame_max={frame_max}",
            self.server.port
        );
        Ok(tokio::time::timeout(
            std::time::Duration::from_secs(20),
            Connection::connect(&uri, ConnectionProperties::default()),
        )
        .await??)
    }

    fn queue_arguments(&self) -> FieldTable {
        let mut args = FieldTable::default();
        if self.quorum {
            args.insert(
                "x-queue-type".into(),
                AMQPValue::LongString("quorum".into()),
            );
        }
        args
    }
}

#[async_trait]
impl Target for Rabbit {
    fn peer(&self) -> String {
        self.name.clone()
    }
    fn version(&self) -> String {
        // The program prints no version without starting; its path holds it.
        match self.program.split("rabbitmq_server-").nth(1) {
            Some(rest) => format!("RabbitMQ {}", rest.split('/').next().unwrap_or(rest)),
            None => "RabbitMQ, version not in the program's path".into(),
        }
    }
    fn ack_means(&self) -> &'static str {
        if self.quorum {
            "publisher confirm (quorum queue: Raft log fsynced)"
        } else {
            "publisher confirm (classic queue: persisted, fsynced in batches)"
        }
    }
    fn fresh(&mut self) -> Result<()> {
        self.server = Server::new(&self.name)?;
        self.epmd_port = free_port()?;
        let mut epmd = Command::new(binary("EPMD", "epmd"));
        epmd.args(["-address", "127.0.0.1", "-port"])
            .arg(self.epmd_port.to_string());
        self.server.spawn_helper(epmd)?;
        Ok(())
    }
    fn spawn(&mut self, _mode: Mode) -> Result<()> {
        let dir = self.server.scratch.path().to_path_buf();
        let conf = dir.join("rabbitmq.conf");
        std::fs::write(
            &conf,
            format!(
                "listeners.tcp.1 = 127.0.0.1:{}\nvm_memory_high_watermark.absolute = 12GB\ndisk_free_limit.absolute = 1GB\nlog.console = true\nlog.console.level = warning\nlog.file = false\nheartbeat = 0\nchannel_max = 2047\n",
                self.server.port
            ),
        )?;
        std::fs::write(dir.join("enabled_plugins"), "[].\n")?;
        let mut cmd = Command::new(&self.program);
        cmd.env("RABBITMQ_NODENAME", "peers@localhost")
            .env("RABBITMQ_MNESIA_BASE", dir.join("mnesia"))
            .env("RABBITMQ_LOG_BASE", dir.join("log"))
            .env("RABBITMQ_CONFIG_FILE", &conf)
            .env("RABBITMQ_CONF_ENV_FILE", dir.join("none.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", dir.join("enabled_plugins"))
            .env("RABBITMQ_DIST_PORT", free_port()?.to_string())
            .env("ERL_EPMD_PORT", self.epmd_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-start_epmd false -kernel inet_dist_use_interface {127,0,0,1}",
            )
            .env("HOME", &dir);
        self.server.spawn(cmd)
    }
    fn server(&mut self) -> &mut Server {
        &mut self.server
    }
    async fn ping(&self) -> Result<()> {
        let conn = self.connect(131072).await?;
        conn.create_channel().await?;
        conn.close(200, "".into()).await.ok();
        Ok(())
    }
    async fn setup(&self, users: &[String], topic: Option<&str>) -> Result<()> {
        let conn = self.connect(131072).await?;
        let mut channels = Vec::new();
        for _ in 0..16 {
            channels.push(conn.create_channel().await?);
        }
        if let Some(topic) = topic {
            channels[0]
                .exchange_declare(
                    format!("t.{topic}").into(),
                    ExchangeKind::Fanout,
                    ExchangeDeclareOptions {
                        durable: true,
                        ..Default::default()
                    },
                    FieldTable::default(),
                )
                .await?;
        }
        futures::stream::iter(users.iter().cloned().enumerate().map(|(i, user)| {
            let channel = channels[i % channels.len()].clone();
            let args = self.queue_arguments();
            async move {
                let queue = format!("u.{user}");
                channel
                    .queue_declare(
                        queue.as_str().into(),
                        QueueDeclareOptions {
                            durable: true,
                            ..Default::default()
                        },
                        args,
                    )
                    .await?;
                if let Some(topic) = topic {
                    channel
                        .queue_bind(
                            queue.as_str().into(),
                            format!("t.{topic}").into(),
                            "".into(),
                            QueueBindOptions::default(),
                            FieldTable::default(),
                        )
                        .await?;
                }
                Ok::<(), anyhow::Error>(())
            }
        }))
        .buffer_unordered(16)
        .try_collect::<Vec<()>>()
        .await?;
        conn.close(200, "".into()).await.ok();
        Ok(())
    }
    async fn sender(&self) -> Result<Arc<dyn Sender>> {
        let conn = self.connect(131072).await?;
        let channel = conn.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Arc::new(RabbitSender {
            _conn: conn,
            channel,
        }))
    }
    async fn receiver(&self, user: &str, _topic: Option<&str>) -> Result<Box<dyn Receiver>> {
        // A small frame size keeps the client's buffers small with thousands of connections.
        let conn = self.connect(8192).await?;
        let channel = conn.create_channel().await?;
        channel.basic_qos(1000, BasicQosOptions::default()).await?;
        let consumer = channel
            .basic_consume(
                format!("u.{user}").into(),
                "c".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Box::new(RabbitReceiver {
            _conn: conn,
            channel,
            consumer,
            last: None,
        }))
    }
    fn restart_backlog(&self) -> u64 {
        300_000
    }
    fn most_idle_clients(&self) -> (usize, &'static str) {
        if self.quorum {
            (
                1_000,
                "1,000 clients only: with 5,000 quorum queues new connections timed out after 20 s",
            )
        } else {
            (5_000, "")
        }
    }
    fn most_offline_subscribers(&self) -> (usize, &'static str) {
        if self.quorum {
            (
                1_000,
                "10,000 quorum queues on one node: each is a Raft group of its own, not tried",
            )
        } else {
            (10_000, "")
        }
    }
}

struct RabbitSender {
    _conn: Connection,
    channel: Channel,
}

impl Sender for RabbitSender {
    fn send(&self, to: &To, body: Bytes) -> BoxFuture<'static, Result<()>> {
        let channel = self.channel.clone();
        let (exchange, key) = match to {
            To::User(u) => (String::new(), format!("u.{u}")),
            To::Topic(t) => (format!("t.{t}"), String::new()),
        };
        async move {
            let confirm = channel
                .basic_publish(
                    exchange.into(),
                    key.into(),
                    BasicPublishOptions::default(),
                    &body,
                    BasicProperties::default().with_delivery_mode(2),
                )
                .await?
                .await?;
            if !confirm.is_ack() {
                bail!("not confirmed: {confirm:?}");
            }
            Ok(())
        }
        .boxed()
    }
}

struct RabbitReceiver {
    _conn: Connection,
    channel: Channel,
    consumer: lapin::Consumer,
    last: Option<u64>,
}

#[async_trait]
impl Receiver for RabbitReceiver {
    async fn recv(&mut self, out: &mut Vec<Bytes>) -> Result<()> {
        let mut next = self.consumer.next().await;
        let mut taken = 0;
        while let Some(delivery) = next {
            let delivery = delivery?;
            self.last = Some(delivery.delivery_tag);
            out.push(Bytes::from(delivery.data));
            taken += 1;
            if taken == 256 {
                return Ok(());
            }
            match self.consumer.next().now_or_never() {
                Some(more) => next = more,
                None => return Ok(()),
            }
        }
        Err(anyhow!("consumer ended"))
    }
    async fn ack(&mut self) -> Result<()> {
        if let Some(tag) = self.last.take() {
            self.channel
                .basic_ack(tag, BasicAckOptions { multiple: true })
                .await?;
        }
        Ok(())
    }
    async fn settle(&mut self) -> Result<()> {
        // The channel handles its methods in order: an answer to this one means the
        // acknowledgements before it were taken in.
        self.channel
            .basic_qos(1000, BasicQosOptions::default())
            .await?;
        Ok(())
    }
}

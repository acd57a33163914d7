//! The figures as Prometheus reads them: its text format, version 0.0.4.
//!
//! Names begin with `mailserver_`, units are seconds and bytes, counters end in `_total`. How many lines there are
//! does not depend on how many users, topics or queues there are.

use std::fmt::{Display, Write};

use crate::broker::figures::{BOUNDS_US, Histogram, QueueFigures};
use crate::broker::window::Figures;
use crate::protocol::codes::Code;

/// What Prometheus wants to be told the text is.
pub(super) const KIND: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Writes all figures down.
pub(super) fn text(figures: &Figures) -> String {
    let mut page = Page(String::with_capacity(8 * 1024));
    page.counts(figures);
    page.state(figures);
    page.queues(figures);
    page.machine(figures);
    page.histogram(
        "mailserver_sync_seconds",
        "Time a commit took, its sync included.",
        &figures.sync,
    );
    let help = "Time from a request that changes something to its durable reply.";
    page.histogram("mailserver_ack_seconds", help, &figures.ack);
    page.0
}

struct Page(String);

impl Page {
    fn counts(&mut self, figures: &Figures) {
        let counts = &figures.counts;
        for (name, help, count) in [
            (
                "mails_accepted",
                "Mails put into a log, one per recipient.",
                counts.accepted,
            ),
            (
                "mails_duplicate",
                "Sends that had been carried out before.",
                counts.duplicates,
            ),
            (
                "mails_delivered",
                "Mails that a device acknowledged, so it has them on its own disk.",
                counts.acknowledged,
            ),
            (
                "mails_redelivered",
                "Mails told in a page to a device that they had been told to before.",
                counts.redelivered,
            ),
            (
                "mails_expired",
                "Mails whose own expiry came.",
                counts.expired,
            ),
            (
                "mails_trimmed_unread",
                "Mails that went while somebody had not read them.",
                counts.trimmed_unread,
            ),
            (
                "recipients_refused",
                "Recipients that did not get a mail.",
                counts.refused,
            ),
            (
                "requests_dropped",
                "Requests left unanswered, of clients over their budget of failed requests.",
                counts.dropped_requests,
            ),
            (
                "subscriptions_denied",
                "Subscriptions on the live socket that were not granted.",
                counts.denied_subscriptions,
            ),
        ] {
            self.single(&format!("mailserver_{name}_total"), "counter", help, count);
        }
        let name = "mailserver_refusals_total";
        self.head(name, "counter", "Requests and recipients refused, by code.");
        for code in Code::ALL {
            let count = counts.refusals.get(code).copied().unwrap_or(0);
            self.line(name, &[("code", code.word())], count);
        }
        let name = "mailserver_zap_denied_total";
        self.head(name, "counter", "Connections not let in, by reason.");
        self.line(name, &[("reason", "key")], figures.denied.key);
        self.line(name, &[("reason", "malformed")], figures.denied.malformed);
    }

    fn state(&mut self, figures: &Figures) {
        let name = "mailserver_build_info";
        self.head(name, "gauge", "The version, as a label; always 1.");
        self.line(name, &[("version", figures.version)], 1);
        let state = &figures.state;
        self.gauge(
            "uptime_seconds",
            "Time since the process started.",
            seconds(figures.up_ms),
        );
        self.gauge(
            "running_seconds",
            "Time the server has ever run, to the minute.",
            state.running_s,
        );
        self.gauge("users", "Users.", figures.queues.users);
        self.gauge("topics", "Topics.", figures.queues.topics);
        self.gauge("devices", "Devices.", state.devices);
        self.gauge("sessions", "Sessions.", state.sessions);
        let name = "mailserver_leases";
        self.head(name, "gauge", "Ports of the pool, by state.");
        for (word, count) in [
            ("free", state.leases_free),
            ("offered", state.leases_offered),
            ("held", state.leases_held),
            ("resting", state.leases_resting),
        ] {
            self.line(name, &[("state", word)], count);
        }
        self.gauge("kept_mails", "Mails of all logs.", state.mails_kept);
        self.gauge("kept_bytes", "Bytes of their bodies.", state.bytes_kept);
        self.gauge("last_mail_id", "The newest id given out.", state.last_id);
        let help = "1 while no new mail is taken because the disk is nearly full.";
        self.gauge("disk_low", help, u8::from(state.disk_low));
    }

    fn queues(&mut self, figures: &Figures) {
        let queues = &figures.queues;
        self.gauge(
            "queues",
            "Logs that a device reads, over all devices.",
            queues.queues,
        );
        self.gauge(
            "queues_waiting",
            "Those of them in which something waits.",
            queues.waiting_queues,
        );
        self.gauge(
            "waiting_mails",
            "Mails that wait, over all queues.",
            queues.mails,
        );
        self.gauge("waiting_bytes", "Bytes of their bodies.", queues.bytes);
        let oldest = queues.oldest.first().and_then(|queue| queue.oldest_at_ms);
        let eldest = oldest.map_or(0.0, |at| age(figures, at));
        self.gauge(
            "oldest_waiting_seconds",
            "Age of the oldest mail that waits; 0 when none does.",
            eldest,
        );
        let name = "mailserver_queue_mails";
        self.head(name, "gauge", "Mails that wait in the deepest queues.");
        for queue in &queues.deepest {
            self.queue_line(name, queue, queue.mails);
        }
        let name = "mailserver_queue_oldest_seconds";
        self.head(
            name,
            "gauge",
            "Age of the oldest mail in the deepest queues.",
        );
        for queue in &queues.deepest {
            if let Some(at) = queue.oldest_at_ms {
                self.queue_line(name, queue, age(figures, at));
            }
        }
    }

    fn queue_line(&mut self, name: &str, queue: &QueueFigures, value: impl Display) {
        let device = queue.device.to_string();
        let labels = [
            ("address", queue.address.as_str()),
            ("user", queue.user.as_str()),
            ("device", device.as_str()),
        ];
        self.line(name, &labels, value);
    }

    fn machine(&mut self, figures: &Figures) {
        let machine = &figures.machine;
        self.gauge(
            "memory_bytes",
            "Memory this process holds, swapped out included.",
            machine.memory_bytes,
        );
        self.gauge(
            "memory_max_bytes",
            "Memory above which the process ends, to be started again.",
            machine.memory_max_bytes,
        );
        self.gauge(
            "store_bytes",
            "Bytes that the store's files take.",
            machine.store_bytes,
        );
        self.gauge(
            "disk_free_bytes",
            "Bytes free on the store's disk.",
            machine.disk_free_bytes,
        );
        self.gauge(
            "settings_waiting",
            "Settings that changed while it ran and need a restart.",
            machine.settings_waiting,
        );
        self.gauge(
            "commit_queue_bytes",
            "About how many bytes wait for the disk.",
            figures.commit_queue_bytes,
        );
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl Display) {
        self.single(&format!("mailserver_{name}"), "gauge", help, value);
    }

    fn single(&mut self, name: &str, kind: &str, help: &str, value: impl Display) {
        self.head(name, kind, help);
        self.line(name, &[], value);
    }

    fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, "histogram", help);
        let bucket = format!("{name}_bucket");
        let mut sum = 0;
        for (bound, count) in BOUNDS_US.iter().zip(&histogram.buckets) {
            sum += count;
            let bound = micros(*bound).to_string();
            self.line(&bucket, &[("le", bound.as_str())], sum);
        }
        let count: u64 = histogram.buckets.iter().sum();
        self.line(&bucket, &[("le", "+Inf")], count);
        self.line(&format!("{name}_sum"), &[], micros(histogram.sum_us));
        self.line(&format!("{name}_count"), &[], count);
    }

    fn head(&mut self, name: &str, kind: &str, help: &str) {
        self.write(format_args!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
    }

    fn line(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        for (at, (label, text)) in labels.iter().enumerate() {
            let open = if at == 0 { '{' } else { ',' };
            self.write(format_args!("{open}{label}=\"{}\"", Escaped(text)));
        }
        let close = if labels.is_empty() { "" } else { "}" };
        self.write(format_args!("{close} {value}\n"));
    }

    fn write(&mut self, text: std::fmt::Arguments<'_>) {
        self.0.write_fmt(text).expect("a String takes everything");
    }
}

/// A label's value: what would end it, or the line, is escaped.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            '\\' => f.write_str("\\\\"),
            '"' => f.write_str("\\\""),
            '\n' => f.write_str("\\n"),
            c => f.write_char(c),
        })
    }
}

fn age(figures: &Figures, at_ms: i64) -> f64 {
    seconds(u64::try_from(figures.at_ms.saturating_sub(at_ms)).unwrap_or(0))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "exact for 285 years of microseconds, and a figure to look at after that"
)]
fn micros(micros: u64) -> f64 {
    micros as f64 / 1e6
}

fn seconds(millis: u64) -> f64 {
    micros(millis.saturating_mul(1_000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p12_a_name_cannot_end_its_label() {
        let mut page = Page(String::new());
        page.line("x", &[("a", "1"), ("b", "\"} 2\n\\")], 3);
        assert_eq!(page.0, "x{a=\"1\",b=\"\\\"} 2\\n\\\\\"} 3\n");
    }

    #[test]
    fn buckets_add_up() {
        let mut histogram = Histogram::default();
        for took in [50, 200, 99_000_000] {
            histogram.observe(took);
        }
        let mut page = Page(String::new());
        page.histogram("x_seconds", "X.", &histogram);
        for line in [
            "x_seconds_bucket{le=\"0.0001\"} 1\n",
            "x_seconds_bucket{le=\"0.00025\"} 2\n",
            "x_seconds_bucket{le=\"10\"} 2\n",
            "x_seconds_bucket{le=\"+Inf\"} 3\n",
            "x_seconds_sum 99.00025\n",
            "x_seconds_count 3\n",
        ] {
            assert!(page.0.contains(line), "{line} in {}", page.0);
        }
    }
}

//! Gauges: what metrics say of streams, views and sessions at the moment they are asked for.

use super::{Engine, lock};
use crate::runtime::ingest::Reason;
use crate::sql::catalog::Oid;
use crate::time::Watermark;

/// One value of a gauge.
#[derive(Clone, Debug, PartialEq)]
pub struct Gauge {
    /// Name, e.g. `highwater_stream_rows`.
    pub name: &'static str,
    /// What it says; one line.
    pub help: &'static str,
    /// Label names and values.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// Gauges in the making.
#[derive(Default)]
struct Gauges(Vec<Gauge>);

impl Gauges {
    fn add(
        &mut self,
        name: &'static str,
        help: &'static str,
        values: impl Iterator<Item = (Vec<(&'static str, String)>, f64)>,
    ) {
        self.0.extend(values.map(|(labels, value)| Gauge { name, help, labels, value }));
    }
}

impl Engine {
    /// Returns the gauges as of now; those of one name follow each other.
    pub fn gauges(&self) -> Vec<Gauge> {
        let mut gauges = Gauges::default();
        let sessions = lock(&self.sessions).len();
        let one = std::iter::once((Vec::new(), number(sessions as u64)));
        gauges.add("highwater_sessions", "Open connections.", one);
        self.stream_gauges(&mut gauges);
        self.view_gauges(&mut gauges);
        gauges.0
    }

    fn stream_gauges(&self, gauges: &mut Gauges) {
        let catalog = self.catalog();
        let name = |oid: Oid| {
            catalog.get(oid).map(|o| vec![("schema", o.schema.clone()), ("stream", o.name.clone())])
        };
        // A stream that is being dropped may have no name any more.
        let streams: Vec<_> = self
            .hub()
            .stream_status()
            .into_iter()
            .filter_map(|status| Some((name(status.oid)?, status)))
            .collect();
        let each = || streams.iter().map(|(labels, status)| (labels.clone(), status));
        gauges.add(
            "highwater_stream_rows",
            "Rows a stream has taken since the start.",
            each().map(|(labels, s)| (labels, number(s.admitted))),
        );
        gauges.add(
            "highwater_stream_late_rows",
            "Rows among them that were late, within the allowed lateness.",
            each().map(|(labels, s)| (labels, number(s.late_admitted))),
        );
        gauges.add(
            "highwater_stream_refused_rows",
            "Rows a stream has refused since the start, by reason.",
            each().flat_map(|(labels, s)| {
                Reason::ALL.iter().map(move |reason| {
                    let mut labels = labels.clone();
                    labels.push(("reason", reason.as_str().to_owned()));
                    (labels, number(s.refused.get(reason).copied().unwrap_or(0)))
                })
            }),
        );
        gauges.add(
            "highwater_stream_retained_rows",
            "Rows a stream retains.",
            each().map(|(labels, s)| (labels, number(s.retained.rows as u64))),
        );
        gauges.add(
            "highwater_stream_memory_bytes",
            "About how many bytes what a stream retains takes in memory.",
            each().map(|(labels, s)| (labels, number(s.retained.memory_bytes as u64))),
        );
        gauges.add(
            "highwater_stream_file_bytes",
            "Bytes of the files with what a stream retains.",
            each().map(|(labels, s)| (labels, number(s.retained.file_bytes))),
        );
        gauges.add(
            "highwater_stream_watermark_seconds",
            "Event time a stream has reached, in seconds since 1970.",
            each()
                .filter(|(_, s)| s.watermark != Watermark::MIN)
                .map(|(labels, s)| (labels, seconds(s.watermark))),
        );
    }

    fn view_gauges(&self, gauges: &mut Gauges) {
        let catalog = self.catalog();
        let views: Vec<_> = self
            .hub()
            .job_status()
            .into_iter()
            .filter_map(|job| {
                let view = catalog.get(job.oid?)?;
                Some((vec![("schema", view.schema.clone()), ("view", view.name.clone())], job))
            })
            .collect();
        let each = || views.iter().map(|(labels, job)| (labels.clone(), job));
        gauges.add(
            "highwater_view_rows",
            "Distinct rows a view holds.",
            each().map(|(labels, job)| (labels, number(job.rows as u64))),
        );
        gauges.add(
            "highwater_view_in_flight_commits",
            "Commits on their way through a view.",
            each().map(|(labels, job)| (labels, number(job.in_flight))),
        );
        gauges.add(
            "highwater_view_suspended",
            "1 if a view has failed, else 0.",
            each().map(|(labels, job)| (labels, f64::from(u8::from(job.fault.is_some())))),
        );
    }
}

fn number(count: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
    let number = count as f64;
    number
}

fn seconds(watermark: Watermark) -> f64 {
    if watermark == Watermark::MAX {
        return f64::INFINITY;
    }
    #[expect(clippy::cast_precision_loss, reason = "Prometheus knows no other numbers")]
    let micros = watermark.0.0 as f64;
    micros / 1e6
}

//! The session's time zone in expressions over `timestamptz`.
//!
//! # Semantics
//! Instants are kept in UTC. Where Postgres looks at a zone's clocks, so does the plan: casts
//! between `timestamptz` and `timestamp`, `date` or `time`, `extract`, `date_trunc`, `to_char`,
//! and today's
//! date. Text without a zone is read in it (`text_time`), and casts to text show it (`casts`).
//!
//! # Why
//! `timezone(zone, ..)` with the zone as a constant takes the place of each, so a maintained query
//! keeps the zone in which it was defined.

use std::any::Any;
use std::sync::Arc;

use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::config::{ConfigEntry, ConfigExtension, ConfigOptions, ExtensionOptions};
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, plan_err};
use datafusion::error::Result as DfResult;
use datafusion::logical_expr::{Cast, Expr, lit};

use super::arithmetic::type_of;
use super::functions::{MICROS, instants, timezone};
use crate::functions;
use crate::functions::time::CALENDAR_PART;
use crate::sql::EXTRACT;
use crate::sql::output::style::Style;

/// How a session looks at times.
#[derive(Clone, Debug, Default)]
pub(super) struct Session {
    /// Its zone, unless that is UTC.
    pub(super) zone: Option<Arc<str>>,
    /// How dates and intervals are printed and read.
    pub(super) style: Style,
}

impl Session {
    /// The same in another zone.
    pub(super) fn within(self, zone: &str) -> Self {
        let zone = (!zone.eq_ignore_ascii_case("utc")).then(|| zone.into());
        Self { zone, ..self }
    }
}

/// Zone and style as one of DataFusion's settings, which all rules can see.
#[derive(Clone, Debug)]
pub struct SessionTimes {
    /// `TimeZone`.
    pub zone: Arc<str>,
    /// `DateStyle` and `IntervalStyle`.
    pub style: Style,
}

impl ConfigExtension for SessionTimes {
    const PREFIX: &'static str = "highwater";
}

impl ExtensionOptions for SessionTimes {
    fn as_any(&self) -> &dyn Any {
        self
    }

    fn as_any_mut(&mut self) -> &mut dyn Any {
        self
    }

    fn cloned(&self) -> Box<dyn ExtensionOptions> {
        Box::new(self.clone())
    }

    fn set(&mut self, key: &str, _: &str) -> DfResult<()> {
        plan_err!("unrecognized configuration parameter \"{key}\"")
    }

    fn entries(&self) -> Vec<ConfigEntry> {
        Vec::new()
    }
}

/// How the session of a statement looks at times.
pub(super) fn of(config: &ConfigOptions) -> Session {
    let Some(SessionTimes { zone, style }) = config.extensions.get::<SessionTimes>() else {
        return Session::default();
    };
    let zone = (!zone.eq_ignore_ascii_case("utc")).then(|| Arc::clone(zone));
    Session { zone, style: *style }
}

fn cast(expr: Expr, to: DataType) -> Expr {
    Expr::Cast(Cast::new(Box::new(expr), to))
}

fn is_instant(data_type: &DataType) -> bool {
    matches!(data_type, DataType::Timestamp(_, Some(_)))
}

/// What the zone's clocks show at an instant.
fn local(zone: &str, instant: Expr) -> Expr {
    timezone(lit(zone), cast(instant, instants()))
}

/// Lets an expression look at the zone's clocks where it would look at UTC.
pub(super) fn rewrite(expr: Expr, schema: &DFSchema, zone: &str) -> DfResult<Transformed<Expr>> {
    match expr {
        Expr::Cast(Cast { expr: inner, field }) => {
            let Ok(from) = type_of(&inner, schema) else {
                return Ok(Transformed::no(Expr::Cast(Cast { expr: inner, field })));
            };
            let to = field.data_type();
            let clocks =
                matches!(to, DataType::Timestamp(_, None) | DataType::Date32 | DataType::Time64(_));
            if is_instant(&from) && clocks {
                return Ok(Transformed::yes(cast(local(zone, *inner), to.clone())));
            }
            let shown = matches!(from, DataType::Timestamp(_, None) | DataType::Date32);
            if shown && is_instant(to) {
                let instant = timezone(lit(zone), cast(*inner, MICROS));
                let same = *to == instants();
                return Ok(Transformed::yes(if same {
                    instant
                } else {
                    cast(instant, to.clone())
                }));
            }
            Ok(Transformed::no(Expr::Cast(Cast { expr: inner, field })))
        }
        Expr::ScalarFunction(mut function) => {
            let is_now = |name: &str| name == function.name() && function.args.is_empty();
            let clock = [("current_date", DataType::Date32), ("current_time", TIME)];
            if let Some((_, to)) = clock.into_iter().find(|(name, _)| is_now(name)) {
                return Ok(Transformed::yes(cast(local(zone, functions::now()), to)));
            }
            if function.name() == "age" {
                let instants = |arg: &Expr| type_of(arg, schema).is_ok_and(|t| is_instant(&t));
                let zoned = function.args.len() == 2 && function.args.iter().all(instants);
                if zoned {
                    for arg in &mut function.args {
                        *arg = local(zone, std::mem::take(arg));
                    }
                }
                let age = Expr::ScalarFunction(function);
                return Ok(if zoned { Transformed::yes(age) } else { Transformed::no(age) });
            }
            let with_zone = [("to_char", 0, 2), ("$generate_series", 0, 3)].into_iter();
            let with_zone = with_zone.into_iter().find(|(name, ..)| *name == function.name());
            if let Some((_, instant, count)) = with_zone {
                let of = function.args.get(instant).map(|arg| type_of(arg, schema));
                let zoned = function.args.len() == count
                    && of.is_some_and(|of| of.is_ok_and(|t| is_instant(&t)));
                if zoned {
                    function.args.push(lit(zone));
                }
                let call = Expr::ScalarFunction(function);
                return Ok(if zoned { Transformed::yes(call) } else { Transformed::no(call) });
            }
            let argument = match function.name() {
                "date_part" | "date_trunc" | CALENDAR_PART | EXTRACT => 1,
                _ => return Ok(Transformed::no(Expr::ScalarFunction(function))),
            };
            let of_instant = |arg: &Expr| type_of(arg, schema).is_ok_and(|t| is_instant(&t));
            if !function.args.get(argument).is_some_and(of_instant) || is_epoch(&function.args[0]) {
                return Ok(Transformed::no(Expr::ScalarFunction(function)));
            }
            let arg = &mut function.args[argument];
            *arg = local(zone, std::mem::take(arg));
            let truncates = function.name() == "date_trunc";
            let expr = Expr::ScalarFunction(function);
            Ok(Transformed::yes(if truncates { timezone(lit(zone), expr) } else { expr }))
        }
        other => Ok(Transformed::no(other)),
    }
}

const TIME: DataType = DataType::Time64(TimeUnit::Microsecond);

/// Whether this names the field that is the same in all zones.
fn is_epoch(field: &Expr) -> bool {
    let Expr::Literal(value, _) = field else { return false };
    value.try_as_str().flatten().is_some_and(|field| field.eq_ignore_ascii_case("epoch"))
}

//! What a stream retains as a table of DataFusion's.
//!
//! # Semantics
//! The rows come in the order of their arrival, a part at a time: what is in files, and then what
//! is in memory. Files whose event times cannot pass the query's filters are not read, and of the
//! others neither the groups of rows nor the columns that the query cannot want.

use std::fmt;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Int64Array, RecordBatch};
use arrow::compute::{cast, filter_record_batch};
use arrow::datatypes::{Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::stats::Precision;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{Column, DFSchema, ScalarValue, Statistics};
use datafusion::datasource::TableType;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_optimizer::pruning::{PruningPredicate, PruningPredicateBuilder};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType};
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::{
    ChildrenPropertiesMode, DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning,
    PlanProperties, ReplaceChildrenOptions, SendableRecordBatchStream,
};
use futures::{StreamExt, TryStreamExt, stream};
use parquet::arrow::arrow_reader::statistics::StatisticsConverter;
use parquet::file::metadata::ParquetMetaData;

use crate::delta::{Delta, batch};
use crate::error::Classify;
use crate::functions::error::failure;
use crate::planner::plan::ScanKind;
use crate::planner::relation::RelationSource;
use crate::runtime;
use crate::runtime::history::Part;
use crate::time::Timestamp;

/// What a stream retains, at an instant of event time if there is one.
#[derive(Debug)]
pub(super) struct HistoryTable {
    schema: SchemaRef,
    parts: Vec<Part>,
    /// The column of the event time.
    time: Option<usize>,
    instant: Option<Timestamp>,
}

impl HistoryTable {
    /// The parts of a stream that is partly in files, and of which a plan reads its own columns.
    pub(super) fn new(
        source: &RelationSource,
        parts: &[Part],
        instant: Option<Timestamp>,
    ) -> Option<Arc<Self>> {
        let plain = source.kind() != ScanKind::Arrivals && !source.has_seq();
        let plain = plain && source.has_late().is_none();
        if !plain || parts.iter().all(|part| part.span_in_file().is_none()) {
            return None;
        }
        let (schema, time) = (Arc::clone(source.row_type()), source.event_time());
        Some(Arc::new(Self { schema, parts: parts.to_vec(), time, instant }))
    }

    /// The parts that may have rows that a query wants.
    fn wanted(&self, predicate: Option<&PruningPredicate>) -> Vec<Part> {
        let in_time = |part: &Part| {
            let first = part.span_in_file().map(|(earliest, _)| earliest);
            first.zip(self.instant).is_none_or(|(first, instant)| first <= instant)
        };
        let parts: Vec<Part> = self.parts.iter().filter(|part| in_time(part)).cloned().collect();
        let Some((predicate, time)) = predicate.zip(self.time) else { return parts };
        let spans = Spans { schema: &self.schema, time, parts: &parts };
        let Ok(wanted) = predicate.prune(&spans) else { return parts };
        let wanted = parts.iter().zip(wanted).filter(|(_, wanted)| *wanted);
        wanted.map(|(part, _)| part.clone()).collect()
    }
}

#[async_trait]
impl TableProvider for HistoryTable {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let columns = DFSchema::try_from(Arc::clone(&self.schema))?;
        // The least and the greatest float of a file do not tell of NaN.
        let floats = |column: &Column| -> bool {
            let field = self.schema.field_with_name(column.name());
            field.is_ok_and(|field| field.data_type().is_floating())
        };
        let telling = |filter: &&Expr| !filter.column_refs().iter().any(|column| floats(column));
        let filter = conjunction(filters.iter().filter(telling).cloned());
        let filter =
            filter.map(|filter| state.create_physical_expr(filter, &columns)).transpose()?;
        // A filter of which nothing follows for columns passes everything.
        let builder = PruningPredicateBuilder::new().with_file_schema(Arc::clone(&self.schema));
        let predicate = filter.and_then(|filter| builder.build(filter));
        let parts = self.wanted(predicate.as_deref());
        let all = || (0..self.schema.fields().len()).collect();
        let scan = Scan {
            columns: projection.cloned().unwrap_or_else(all),
            predicate,
            instant: self.instant,
        };
        let schema = Arc::new(self.schema.project(&scan.columns)?);
        let properties = PlanProperties::new(
            EquivalenceProperties::new(Arc::clone(&schema)),
            Partitioning::UnknownPartitioning(1),
            EmissionType::Incremental,
            Boundedness::Bounded,
        );
        Ok(Arc::new(HistoryExec {
            schema,
            parts,
            scan: Arc::new(scan),
            properties: properties.into(),
        }))
    }
}

/// Why history cannot be read, as it travels through DataFusion.
fn unreadable(error: runtime::Error) -> DataFusionError {
    failure(error.sqlstate(), error.to_string())
}

/// The rows of a stream in the row type of its scan: with times of arrival, and numbers in the
/// order of arrival, if the plan reads these. Of parts that are not wanted there are none.
pub(super) fn in_order(
    source: &RelationSource,
    parts: &[Part],
    wanted: impl Fn(&Part) -> bool,
) -> Result<Vec<Delta>> {
    let mut seq = 0..;
    let mut numbered = Vec::new();
    for part in parts.iter().filter(|part| wanted(part)) {
        for retained in part.read().map_err(unreadable)?.iter() {
            let late = source.has_late().map(|time| retained.and_late(time)).transpose()?;
            let retained = late.as_ref().unwrap_or(retained);
            let delta = match source.kind() {
                ScanKind::Arrivals => retained.by_arrival()?,
                _ => retained.delta.clone(),
            };
            let mut columns = delta.rows().columns().to_vec();
            if source.has_seq() {
                let seq = seq.by_ref().take(delta.len());
                columns.push(Arc::new(Int64Array::from_iter_values(seq)));
            }
            let rows = batch(Arc::clone(source.row_type()), columns, delta.len())?;
            numbered.push(delta.with_rows(rows));
        }
    }
    Ok(numbered)
}

/// The rows, in the row type of the scan, that had arrived at a time.
pub(super) fn until(source: &RelationSource, parts: &[Part], at: Timestamp) -> Result<Vec<Delta>> {
    let mut arrived = Vec::new();
    'all: for part in parts {
        for run in part.read().map_err(unreadable)?.iter() {
            let by_then = run.until(at);
            let cut = by_then.delta.len() < run.delta.len();
            arrived.push(Part::Run(Arc::new(by_then)));
            if cut {
                // What comes behind has arrived later.
                break 'all;
            }
        }
    }
    in_order(source, &arrived, |_| true)
}

/// The rows that came in time.
pub(super) fn deltas_of(parts: &[Part]) -> Result<Vec<Delta>> {
    let mut deltas = Vec::new();
    for part in parts {
        deltas.extend(part.read().map_err(unreadable)?.iter().map(|run| run.delta.clone()));
    }
    Ok(deltas)
}

/// What is read of each part.
#[derive(Debug)]
struct Scan {
    columns: Vec<usize>,
    predicate: Option<Arc<PruningPredicate>>,
    instant: Option<Timestamp>,
}

impl Scan {
    fn read(&self, part: &Part) -> runtime::Result<Vec<RecordBatch>> {
        let groups = |metadata: &ParquetMetaData, schema: &SchemaRef| {
            self.predicate.as_ref()?.prune(&Groups { metadata, schema }).ok()
        };
        let deltas = part.scan(&self.columns, &groups)?;
        let rows = deltas.into_iter().map(|delta| match self.instant {
            None => Ok(delta.rows().clone()),
            Some(instant) => {
                let ts = delta.ts_array();
                let keep: BooleanArray =
                    ts.values().iter().map(|t| Some(*t <= instant.0)).collect();
                filter_record_batch(delta.rows(), &keep)
            }
        });
        Ok(rows.collect::<std::result::Result<_, arrow::error::ArrowError>>()?)
    }
}

/// Reads parts of history, one after the other.
#[derive(Debug)]
struct HistoryExec {
    schema: SchemaRef,
    parts: Vec<Part>,
    scan: Arc<Scan>,
    properties: Arc<PlanProperties>,
}

impl DisplayAs for HistoryExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.parts.iter().filter(|part| part.span_in_file().is_some()).count();
        write!(f, "HistoryExec: files={files}")
    }
}

impl ExecutionPlan for HistoryExec {
    fn name(&self) -> &str {
        "HistoryExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn replace_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
        _: ReplaceChildrenOptions,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn with_new_children(
        self: Arc<Self>,
        children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let options = ReplaceChildrenOptions::new(ChildrenPropertiesMode::Recompute);
        self.replace_children(children, options)
    }

    fn execute(&self, _: usize, _: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let scan = Arc::clone(&self.scan);
        let read = move |part: Part| {
            let scan = Arc::clone(&scan);
            async move {
                let batches = match part.span_in_file() {
                    None => scan.read(&part),
                    Some(_) => {
                        let read = tokio::task::spawn_blocking(move || scan.read(&part)).await;
                        read.map_err(|error| DataFusionError::External(error.into()))?
                    }
                };
                let batches = batches.map_err(unreadable)?;
                Ok::<_, DataFusionError>(stream::iter(batches.into_iter().map(Ok)))
            }
        };
        let batches = stream::iter(self.parts.clone()).then(read).try_flatten();
        Ok(Box::pin(RecordBatchStreamAdapter::new(Arc::clone(&self.schema), batches)))
    }

    fn partition_statistics(&self, _: Option<usize>) -> Result<Arc<Statistics>> {
        let rows = self.parts.iter().map(Part::in_time).sum();
        let unknown = Statistics::new_unknown(&self.schema);
        Ok(Arc::new(unknown.with_num_rows(Precision::Inexact(rows))))
    }
}

/// The event times of parts. Those in memory may have any.
struct Spans<'a> {
    schema: &'a Schema,
    time: usize,
    parts: &'a [Part],
}

impl Spans<'_> {
    fn bounds(
        &self,
        column: &Column,
        pick: fn((Timestamp, Timestamp)) -> Timestamp,
    ) -> Option<ArrayRef> {
        let field = self.schema.field(self.time);
        if *field.name() != column.name {
            return None;
        }
        let bounds = self.parts.iter().map(|part| part.span_in_file().map(|span| pick(span).0));
        cast(&bounds.collect::<Int64Array>(), field.data_type()).ok()
    }
}

#[expect(clippy::disallowed_types, reason = "DataFusion asks with such a set")]
impl PruningStatistics for Spans<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |(earliest, _)| earliest)
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.bounds(column, |(_, latest)| latest)
    }

    fn num_containers(&self) -> usize {
        self.parts.len()
    }

    fn null_counts(&self, _: &Column) -> Option<ArrayRef> {
        None
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(
        &self,
        _: &Column,
        _: &std::collections::HashSet<ScalarValue>,
    ) -> Option<BooleanArray> {
        None
    }
}

/// What a file says of its groups of rows.
struct Groups<'a> {
    metadata: &'a ParquetMetaData,
    schema: &'a SchemaRef,
}

impl Groups<'_> {
    fn converter<'a>(&'a self, column: &'a Column) -> Option<StatisticsConverter<'a>> {
        let columns = self.metadata.file_metadata().schema_descr();
        StatisticsConverter::try_new(&column.name, self.schema, columns).ok()
    }
}

#[expect(clippy::disallowed_types, reason = "DataFusion asks with such a set")]
impl PruningStatistics for Groups<'_> {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.converter(column)?.row_group_mins(self.metadata.row_groups()).ok()
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.converter(column)?.row_group_maxes(self.metadata.row_groups()).ok()
    }

    fn num_containers(&self) -> usize {
        self.metadata.num_row_groups()
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let counts = self.converter(column)?.row_group_null_counts(self.metadata.row_groups());
        counts.ok().map(|counts| Arc::new(counts) as ArrayRef)
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        None
    }

    fn contained(
        &self,
        _: &Column,
        _: &std::collections::HashSet<ScalarValue>,
    ) -> Option<BooleanArray> {
        None
    }
}

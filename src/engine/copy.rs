//! `COPY .. FROM STDIN`: decoded as it comes, written whole at its end.

use std::sync::Arc;

use arrow::array::{RecordBatch, new_null_array};
use async_trait::async_trait;
use datafusion::datasource::{MemTable, provider_as_source};
use datafusion::logical_expr::LogicalPlanBuilder;
use sqlparser::ast;

use super::assignment::columns_of_query;
use super::dml::refuse_derived;
use super::outcome::{CopyIn, CopySink};
use super::session::Session;
use super::{Error, Result, query};
use crate::connectors::format::copy::{CopyDecoder, CopyFormat as Shape};
use crate::delta::Delta;
use crate::error::SqlState;
use crate::planner::relation::Names;
use crate::runtime::hub::Write;
use crate::sql::catalog::{Object, ObjectKind};
use crate::sql::names::fold;
use crate::sql::statement::{CopyFormat, CopyFrom};
use crate::time::Timestamp;

impl Session {
    pub(super) fn copy_from(&mut self, copy: &CopyFrom) -> Result<CopyIn> {
        let object = self.find(&copy.name)?;
        if matches!(object.kind, ObjectKind::View(_) | ObjectKind::Sink(_)) {
            return Err(Error::refused(
                SqlState::WRONG_OBJECT_TYPE,
                format!("cannot copy to {} \"{}\"", object.kind_name(), object.name),
            ));
        }
        refuse_derived(&object)?;
        if copy.options.format == CopyFormat::Binary {
            return Err(Error::unsupported(
                "COPY FROM in binary format is not supported",
                "Use FORMAT text or csv.",
            ));
        }
        let mut indices = Vec::new();
        for column in &copy.columns {
            let name = fold(column);
            let index = object.columns.iter().position(|c| c.name == name);
            indices.push(index.ok_or_else(|| {
                let message =
                    format!("column \"{name}\" of relation \"{}\" does not exist", object.name);
                Error::refused(SqlState::UNDEFINED_COLUMN, message)
            })?);
        }
        if indices.is_empty() {
            indices = (0..object.columns.len()).collect();
        }
        let schema = Arc::new(object.arrow_schema().project(&indices)?);
        let shape = Shape {
            csv: copy.options.format == CopyFormat::Csv,
            delimiter: ascii("DELIMITER", copy.options.delimiter)?,
            null: copy.options.null.clone(),
            header: copy.options.header,
            quote: ascii("QUOTE", copy.options.quote)?,
            escape: ascii("ESCAPE", copy.options.escape)?,
        };
        let decoder = CopyDecoder::new(schema, object.name.clone(), shape)?;
        let columns = indices.len();
        let sink = Box::new(Sink { object, indices, decoder });
        Ok(CopyIn { columns, options: copy.options.clone(), sink })
    }
}

/// A separator of one byte.
fn ascii(option: &str, value: char) -> Result<u8> {
    u8::try_from(value).ok().filter(u8::is_ascii).ok_or_else(|| {
        Error::refused(
            SqlState::INVALID_PARAMETER_VALUE,
            format!("COPY {option} must be a single one-byte character"),
        )
    })
}

/// Where COPY data goes.
struct Sink {
    object: Arc<Object>,
    indices: Vec<usize>,
    decoder: CopyDecoder,
}

#[async_trait]
impl CopySink for Sink {
    async fn write(&mut self, data: &[u8]) -> Result<()> {
        Ok(self.decoder.push(data)?)
    }

    async fn finish(self: Box<Self>, session: &mut Session) -> Result<u64> {
        let Sink { object, indices, mut decoder } = *self;
        let rows = decoder.finish()?;
        let rows = session.with_defaults(&object, &indices, rows).await?;
        super::dml::check_not_null(&object, &rows)?;
        let count = rows.num_rows() as u64;
        let write = match object.kind {
            ObjectKind::Table(_) => Write::Table(object.oid, Delta::inserts(rows, Timestamp::MIN)),
            ObjectKind::Stream(_) | ObjectKind::View(_) | ObjectKind::Sink(_) => {
                Write::Rows(object.oid, rows)
            }
        };
        session.write(write).await?;
        Ok(count)
    }
}

impl Session {
    /// Puts columns where they belong; the others have their defaults.
    async fn with_defaults(
        &self,
        object: &Object,
        indices: &[usize],
        rows: RecordBatch,
    ) -> Result<RecordBatch> {
        let mut left_out = object.columns.iter().enumerate().filter(|(i, _)| !indices.contains(i));
        if left_out.all(|(_, column)| column.default.is_none()) {
            return widen(object, indices, &rows);
        }
        let named = indices.iter().map(|i| {
            let name = ast::Ident::with_quote('"', &object.columns[*i].name);
            ast::ObjectName::from(vec![name])
        });
        let named: Vec<_> = named.collect();
        let copied = MemTable::try_new(rows.schema(), vec![vec![rows]])?;
        let copied = provider_as_source(Arc::new(copied));
        let copied = LogicalPlanBuilder::scan("copied", copied, None)?.build()?;
        let plan = {
            let relations = self.relations();
            let names = Names::new(&relations, &relations.functions, Arc::from([]));
            columns_of_query(copied, &named, object, &names)?
        };
        let rows = query::collect(&self.once(), plan, &[]).await?;
        widen(object, &(0..object.columns.len()).collect::<Vec<_>>(), &rows)
    }
}

/// Puts columns where they belong; the others are NULL.
fn widen(object: &Object, indices: &[usize], rows: &RecordBatch) -> Result<RecordBatch> {
    let schema = object.arrow_schema();
    let columns = schema.fields().iter().enumerate().map(|(i, field)| {
        match indices.iter().position(|index| *index == i) {
            Some(position) => super::dml::json_fitted(rows.column(position), field),
            None => Ok(new_null_array(field.data_type(), rows.num_rows())),
        }
    });
    let columns = columns.collect::<Result<Vec<_>>>()?;
    Ok(crate::delta::batch(Arc::clone(&schema), columns, rows.num_rows())?)
}

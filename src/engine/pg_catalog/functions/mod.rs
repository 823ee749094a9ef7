//! Functions that clients call to learn about the server.
//!
//! They work on single values: a catalog query sees hundreds of rows, and what matters is that a function is
//! a name, a type and one line of Rust.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::new_empty_array;
use arrow::datatypes::{DataType, TimeUnit};
use datafusion::common::{Result, ScalarValue};
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, TypeSignature,
    Volatility,
};
use datafusion::prelude::SessionContext;
use datafusion_pg_catalog::pg_catalog::PgCatalogStaticTables;
use datafusion_pg_catalog::pg_catalog::array_bounds_udf::{
    create_array_lower_udf, create_array_upper_udf,
};
use datafusion_pg_catalog::pg_catalog::quote_ident_udf::create_parse_ident_udf;

use super::view::CatalogView;

mod definitions;
mod names;
mod session;
mod sleep;
mod text;

pub(super) use names::{REGCLASS_OUT, REGNAMESPACE_OUT, REGTYPE_OUT};

/// Registers all functions with a context.
pub(super) fn register(ctx: &SessionContext, view: &Arc<dyn CatalogView>) {
    let all = [
        session::functions(view),
        definitions::functions(view),
        names::functions(view),
        text::functions(),
    ];
    for function in all.into_iter().flatten() {
        ctx.register_udf(ScalarUDF::new_from_impl(function));
    }
    ctx.register_udf(sleep::function());
    ctx.register_udf(create_array_lower_udf());
    ctx.register_udf(create_array_upper_udf());
    ctx.register_udf(create_parse_ident_udf());
    if let Ok(tables) = PgCatalogStaticTables::try_new() {
        ctx.register_udtf("pg_get_keywords", tables.pg_get_keywords);
    }
}

/// What a function does with the arguments of a row.
type Body = Box<dyn Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync>;

/// A function of any arguments.
pub(super) struct Function {
    name: &'static str,
    signature: Signature,
    returns: DataType,
    /// Whether NULL among the arguments gives NULL without a call.
    strict: bool,
    body: Body,
}

impl Function {
    /// A function that gives what `returns` says.
    fn new(
        name: &'static str,
        returns: DataType,
        body: impl Fn(&[ScalarValue]) -> Result<ScalarValue> + Send + Sync + 'static,
    ) -> Function {
        let arguments = vec![TypeSignature::Nullary, TypeSignature::VariadicAny];
        let signature = Signature::one_of(arguments, Volatility::Stable);
        Function { name, signature, returns, strict: true, body: Box::new(body) }
    }

    /// A function that gives text.
    fn text(
        name: &'static str,
        body: impl Fn(&[ScalarValue]) -> Option<String> + Send + Sync + 'static,
    ) -> Function {
        Function::new(name, DataType::Utf8, move |args| Ok(ScalarValue::Utf8(body(args))))
    }

    /// A function that gives a truth value.
    fn boolean(
        name: &'static str,
        body: impl Fn(&[ScalarValue]) -> Option<bool> + Send + Sync + 'static,
    ) -> Function {
        Function::new(name, DataType::Boolean, move |args| Ok(ScalarValue::Boolean(body(args))))
    }

    /// A function that gives an integer or an object id.
    fn int4(
        name: &'static str,
        body: impl Fn(&[ScalarValue]) -> Option<u32> + Send + Sync + 'static,
    ) -> Function {
        Function::new(name, DataType::Int32, move |args| {
            Ok(ScalarValue::Int32(body(args).map(u32::cast_signed)))
        })
    }

    /// A function that gives a number of bytes.
    fn int8(
        name: &'static str,
        body: impl Fn(&[ScalarValue]) -> Option<i64> + Send + Sync + 'static,
    ) -> Function {
        Function::new(name, DataType::Int64, move |args| Ok(ScalarValue::Int64(body(args))))
    }

    /// A function that gives an instant.
    fn instant(
        name: &'static str,
        body: impl Fn() -> crate::time::Timestamp + Send + Sync + 'static,
    ) -> Function {
        let zone: Arc<str> = "+00:00".into();
        let returns = DataType::Timestamp(TimeUnit::Microsecond, Some(Arc::clone(&zone)));
        Function::new(name, returns, move |_| {
            Ok(ScalarValue::TimestampMicrosecond(Some(body().0), Some(Arc::clone(&zone))))
        })
    }

    /// Has it called with NULL arguments too.
    fn called_on_null(mut self) -> Function {
        self.strict = false;
        self
    }

    /// Has it called once for each row, because it does something.
    fn with_effect(mut self) -> Function {
        self.signature.volatility = Volatility::Volatile;
        self
    }

    fn call(&self, args: &[ScalarValue]) -> Result<ScalarValue> {
        if self.strict && args.iter().any(ScalarValue::is_null) {
            return ScalarValue::try_from(&self.returns);
        }
        (self.body)(args)
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(self.returns.clone())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let constant = |arg: &ColumnarValue| match arg {
            ColumnarValue::Scalar(value) => Some(value.clone()),
            ColumnarValue::Array(_) => None,
        };
        if let Some(values) = args.args.iter().map(constant).collect::<Option<Vec<_>>>() {
            return Ok(ColumnarValue::Scalar(self.call(&values)?));
        }
        if args.number_rows == 0 {
            return Ok(ColumnarValue::Array(new_empty_array(&self.returns)));
        }
        let rows = (0..args.number_rows).map(|row| {
            let values = args.args.iter().map(|arg| match arg {
                ColumnarValue::Scalar(value) => Ok(value.clone()),
                ColumnarValue::Array(array) => ScalarValue::try_from_array(array, row),
            });
            self.call(&values.collect::<Result<Vec<_>>>()?)
        });
        let results = rows.collect::<Result<Vec<_>>>()?;
        Ok(ColumnarValue::Array(ScalarValue::iter_to_array(results)?))
    }
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Function").field("name", &self.name).finish_non_exhaustive()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.name.hash(state);
    }
}

/// Returns argument `index` as text.
fn text_arg(args: &[ScalarValue], index: usize) -> Option<String> {
    let value = args.get(index).filter(|value| !value.is_null())?;
    match value.cast_to(&DataType::Utf8) {
        Ok(ScalarValue::Utf8(text)) => text,
        _ => None,
    }
}

/// Returns argument `index` as an integer.
fn int_arg(args: &[ScalarValue], index: usize) -> Option<i64> {
    let value = args.get(index).filter(|value| !value.is_null())?;
    match value.cast_to(&DataType::Int64) {
        Ok(ScalarValue::Int64(value)) => value,
        _ => None,
    }
}

/// Returns argument `index` as an object id.
fn oid_arg(args: &[ScalarValue], index: usize) -> Option<u32> {
    let value = int_arg(args, index)?;
    // Object ids are kept in signed integers of the same size.
    u32::try_from(value).ok().or_else(|| i32::try_from(value).ok().map(i32::cast_unsigned))
}

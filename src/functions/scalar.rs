//! Functions of single values: a name, types, and what is done with the arguments of a row.
//!
//! # Cost
//! One call per row, which makes its arguments scalars. For functions whose work on a value is far
//! more than that, as with JSON.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use arrow::array::{ArrayRef, new_empty_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, FieldRef, IntervalUnit, TimeUnit};
use datafusion::common::{Result, ScalarValue, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// What an argument may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text, which JSON is too.
    Text,
    /// An integer.
    Int,
    /// A number, as a double.
    Float,
    /// A number, as it is.
    Number,
    /// A time, or what stands for one.
    Time,
    /// An interval, or what stands for one.
    Interval,
    /// A number, a time or an interval.
    Printable,
    /// Bytes.
    Bytes,
    /// An array of integers.
    Ints,
    /// Anything, as the text that a cast gives.
    AsText,
    /// A truth value.
    Bool,
    /// An array of texts.
    Texts,
    /// An array of anything.
    Array,
    /// Anything.
    Any,
}

/// The arguments of a row, and their columns.
pub(super) struct Row<'a> {
    /// The values.
    pub(super) values: &'a [ScalarValue],
    /// What is known of their columns.
    pub(super) fields: &'a [FieldRef],
    /// The type of the result.
    pub(super) returns: &'a DataType,
}

/// What is known of a call's arguments before any row.
pub(super) struct Given<'a> {
    /// Their columns.
    pub(super) fields: &'a [FieldRef],
    /// Those that are constants.
    pub(super) constants: &'a [Option<&'a ScalarValue>],
}

/// A type, and the SQL type it is declared as, if Arrow's does not say.
pub(super) type Returns = (DataType, Option<&'static str>);

/// What a function does with the arguments of a row.
pub(super) type Body = fn(&Row<'_>) -> Result<ScalarValue>;

/// A function of single values.
pub(super) struct Scalar {
    pub(super) name: &'static str,
    /// What the arguments may be.
    pub(super) arguments: &'static [Kind],
    /// How many of them must be there; the last kind repeats if `variadic`.
    pub(super) required: usize,
    /// Whether there may be any number of arguments of the last kind.
    pub(super) variadic: bool,
    /// The result's type.
    pub(super) returns: fn(&Given<'_>) -> Returns,
    /// Whether NULL among the arguments gives NULL without a call.
    pub(super) strict: bool,
    pub(super) body: Body,
}

impl Scalar {
    /// A function that takes these arguments, all of them, and gives NULL for NULL.
    pub(super) fn strict(
        name: &'static str,
        arguments: &'static [Kind],
        returns: fn(&Given<'_>) -> Returns,
        body: Body,
    ) -> Self {
        let required = arguments.len();
        Self { name, arguments, required, variadic: false, returns, strict: true, body }
    }

    /// Makes it DataFusion's.
    pub(super) fn udf(self) -> ScalarUDF {
        let signature = Signature::user_defined(Volatility::Immutable);
        ScalarUDF::new_from_impl(Function { scalar: self, signature })
    }

    fn fits(&self, argument: usize, given: &DataType) -> Option<DataType> {
        let last = self.arguments.len().checked_sub(1)?;
        if argument > last && !self.variadic {
            return None;
        }
        let null = given.is_null();
        let text = |of: &DataType| {
            matches!(of, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Null)
        };
        let span = |of: &DataType| matches!(of, DataType::Interval(_) | DataType::Duration(_));
        let list = |of: DataType| DataType::List(Field::new_list_field(of, true).into());
        match self.arguments[argument.min(last)] {
            Kind::Text => text(given).then_some(DataType::Utf8),
            Kind::Int => (null || given.is_integer()).then_some(DataType::Int64),
            Kind::Bool => (null || *given == DataType::Boolean).then_some(DataType::Boolean),
            Kind::AsText => Some(DataType::Utf8),
            Kind::Bytes => (text(given) || *given == DataType::Binary).then_some(DataType::Binary),
            Kind::Ints => Some(list(DataType::Int64)),
            Kind::Float => (null || given.is_numeric()).then_some(DataType::Float64),
            Kind::Number | Kind::Printable if null => Some(DataType::Int64),
            Kind::Number => number(given),
            Kind::Time => time(given).or_else(|| text(given).then(|| micros(None))),
            Kind::Interval => (text(given) || span(given)).then_some(INTERVAL),
            Kind::Printable if span(given) => Some(INTERVAL),
            Kind::Printable => number(given).or_else(|| time(given)),
            Kind::Any if null || *given == DataType::Utf8View => Some(DataType::Utf8),
            Kind::Any => Some(given.clone()),
            Kind::Texts | Kind::Array if null => Some(list(DataType::Utf8)),
            Kind::Texts => match given {
                DataType::List(of) | DataType::LargeList(of) | DataType::FixedSizeList(of, _) => {
                    text(of.data_type()).then(|| list(DataType::Utf8))
                }
                // A literal such as '{a,b}'.
                other => text(other).then(|| list(DataType::Utf8)),
            },
            Kind::Array => {
                let found = as_list(given);
                matches!(found, DataType::List(_)).then_some(found)
            }
        }
    }
}

const INTERVAL: DataType = DataType::Interval(IntervalUnit::MonthDayNano);

fn micros(zone: Option<Arc<str>>) -> DataType {
    DataType::Timestamp(TimeUnit::Microsecond, zone)
}

/// The type of an array in the form that functions take.
pub(super) fn as_list(of: &DataType) -> DataType {
    match of {
        DataType::LargeList(element) | DataType::FixedSizeList(element, _) => {
            DataType::List(Field::new_list_field(element.data_type().clone(), true).into())
        }
        other => other.clone(),
    }
}

/// The type in which a number is taken.
fn number(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Float16 | DataType::Float32 | DataType::Float64 => Some(DataType::Float64),
        DataType::Decimal128(..) => Some(given.clone()),
        of if of.is_integer() => Some(DataType::Int64),
        _ => None,
    }
}

/// The type in which a time is taken.
fn time(given: &DataType) -> Option<DataType> {
    match given {
        DataType::Timestamp(_, zone) => Some(micros(zone.clone())),
        DataType::Date32 => Some(micros(None)),
        _ => None,
    }
}

/// A function as DataFusion knows it; functions are told apart by name.
struct Function {
    scalar: Scalar,
    signature: Signature,
}

impl fmt::Debug for Function {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Function").field(&self.scalar.name).finish()
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.scalar.name == other.scalar.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.scalar.name.hash(state);
    }
}

impl ScalarUDFImpl for Function {
    fn name(&self) -> &str {
        self.scalar.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn coerce_types(&self, given: &[DataType]) -> Result<Vec<DataType>> {
        let fitted = given.iter().enumerate().map(|(i, of)| self.scalar.fits(i, of));
        match fitted.collect::<Option<Vec<_>>>() {
            Some(fitted) if fitted.len() >= self.scalar.required => Ok(fitted),
            _ => plan_err!("Function '{}' failed to match any signature", self.scalar.name),
        }
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        plan_err!("the result of {} depends on more than types", self.scalar.name)
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        let given = Given { fields: args.arg_fields, constants: args.scalar_arguments };
        let (data_type, declared) = (self.scalar.returns)(&given);
        let field = Field::new(self.scalar.name, data_type, true);
        let declared = declared.map(|name| ("pg_type".to_owned(), name.to_owned()));
        Ok(field.with_metadata(declared.into_iter().collect()).into())
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let returns = args.return_field.data_type();
        let constant = args.args.iter().all(|a| matches!(a, ColumnarValue::Scalar(_)));
        let rows = if constant { 1 } else { args.number_rows };
        let columns: Vec<ArrayRef> =
            args.args.iter().map(|value| value.clone().into_array(rows)).collect::<Result<_>>()?;
        let mut results = Vec::with_capacity(rows);
        for row in 0..rows {
            let values = columns.iter().map(|column| ScalarValue::try_from_array(column, row));
            let values = values.collect::<Result<Vec<_>>>()?;
            results.push(if self.scalar.strict && values.iter().any(ScalarValue::is_null) {
                ScalarValue::try_from(returns)?
            } else {
                (self.scalar.body)(&Row { values: &values, fields: &args.arg_fields, returns })?
            });
        }
        if constant {
            return Ok(ColumnarValue::Scalar(results.swap_remove(0)));
        }
        let column = match results.is_empty() {
            true => new_empty_array(returns),
            false => ScalarValue::iter_to_array(results)?,
        };
        let fits = column.data_type() == returns;
        Ok(ColumnarValue::Array(if fits { column } else { cast(&column, returns)? }))
    }
}

impl Row<'_> {
    /// The text of an argument; empty for NULL.
    pub(super) fn text(&self, argument: usize) -> &str {
        self.values.get(argument).and_then(|v| v.try_as_str().flatten()).unwrap_or_default()
    }

    /// The integer of an argument.
    pub(super) fn int(&self, argument: usize) -> i64 {
        match self.values.get(argument) {
            Some(ScalarValue::Int64(Some(value))) => *value,
            _ => 0,
        }
    }

    /// The double of an argument; 0 if it is not there.
    pub(super) fn float(&self, argument: usize) -> f64 {
        match self.values.get(argument) {
            Some(ScalarValue::Float64(Some(value))) => *value,
            _ => 0.0,
        }
    }

    /// The texts of an array; `None` for NULL among them.
    pub(super) fn texts(&self, argument: usize) -> Vec<Option<String>> {
        use arrow::array::{Array, AsArray};
        let Some(ScalarValue::List(list)) = self.values.get(argument) else { return Vec::new() };
        if list.is_null(0) {
            return Vec::new();
        }
        let values = list.value(0);
        let Some(texts) = values.as_string_opt::<i32>() else { return Vec::new() };
        texts.iter().map(|text| text.map(str::to_owned)).collect()
    }
}

/// The type of a text.
pub(super) fn text(_: &Given<'_>) -> Returns {
    (DataType::Utf8, None)
}

/// An array of texts.
pub(super) fn text_list() -> DataType {
    DataType::List(Field::new_list_field(DataType::Utf8, true).into())
}

/// The type of an array of texts.
pub(super) fn texts(_: &Given<'_>) -> Returns {
    (text_list(), None)
}

/// The type of an integer.
pub(super) fn int4(_: &Given<'_>) -> Returns {
    (DataType::Int32, None)
}

/// The type of a truth value.
pub(super) fn boolean(_: &Given<'_>) -> Returns {
    (DataType::Boolean, None)
}

/// An array of texts as a value.
pub(super) fn list(values: impl IntoIterator<Item = Option<String>>) -> ScalarValue {
    let values: Vec<ScalarValue> = values.into_iter().map(ScalarValue::Utf8).collect();
    ScalarValue::List(ScalarValue::new_list_nullable(&values, &DataType::Utf8))
}

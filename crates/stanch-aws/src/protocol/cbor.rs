//! CBOR data items as JSON values, and back by the model.
//!
//! The items of CBOR are read without the model (they describe themselves); blobs become base64
//! text and timestamps ISO 8601 text on the way, as in every other protocol.

use aws_smithy_cbor::{Decoder, Encoder, data::Type, decode::DeserializeError};
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::encode_base64;

const MAX_DEPTH: usize = 200;

/// Reads one data item that fills `bytes`.
pub(crate) fn read(bytes: &[u8]) -> Result<Value, String> {
    let mut decoder = Decoder::new(bytes);
    let value = item(&mut decoder, 0)?;
    if decoder.position() == bytes.len() {
        Ok(value)
    } else {
        Err("bytes after the end of the item".to_owned())
    }
}

fn item(decoder: &mut Decoder<'_>, depth: usize) -> Result<Value, String> {
    if depth > MAX_DEPTH {
        return Err(format!("nested deeper than {MAX_DEPTH} items"));
    }
    let text = |error: DeserializeError| error.to_string();
    Ok(match decoder.datatype().map_err(text)? {
        Type::Bool => Value::Bool(decoder.boolean().map_err(text)?),
        Type::Null | Type::Undefined => {
            decoder.skip().map_err(text)?;
            Value::Null
        }
        Type::U8
        | Type::U16
        | Type::U32
        | Type::U64
        | Type::I8
        | Type::I16
        | Type::I32
        | Type::I64
        | Type::Int => Value::from(decoder.long().map_err(text)?),
        Type::F16 | Type::F32 => super::float_value(f64::from(decoder.float().map_err(text)?)),
        Type::F64 => super::float_value(decoder.double().map_err(text)?),
        Type::Bytes | Type::BytesIndef => {
            Value::String(encode_base64(decoder.blob().map_err(text)?.as_ref()))
        }
        Type::String | Type::StringIndef => {
            Value::String(decoder.str().map_err(text)?.into_owned())
        }
        Type::Array | Type::ArrayIndef => {
            let len = decoder.list().map_err(text)?;
            let mut items = Vec::new();
            while more(decoder, len, items.len())? {
                items.push(item(decoder, depth + 1)?);
            }
            Value::Array(items)
        }
        Type::Map | Type::MapIndef => {
            let len = decoder.map().map_err(text)?;
            let mut members = Map::new();
            let mut seen = 0;
            while more(decoder, len, seen)? {
                let key = decoder.str().map_err(text)?.into_owned();
                members.insert(key, item(decoder, depth + 1)?);
                seen += 1;
            }
            Value::Object(members)
        }
        Type::Tag => {
            let time = decoder.timestamp().map_err(text)?;
            let nanos = i32::try_from(time.subsec_nanos()).map_err(|e| e.to_string())?;
            let time = Timestamp::new(time.secs(), nanos).map_err(|e| e.to_string())?;
            Value::String(time.to_string())
        }
        other => return Err(format!("unexpected {other:?}")),
    })
}

/// Whether another element follows; eats the break that ends an indefinite one.
fn more(decoder: &mut Decoder<'_>, len: Option<u64>, seen: usize) -> Result<bool, String> {
    if let Some(len) = len {
        return Ok((seen as u64) < len);
    }
    let text = |error: DeserializeError| error.to_string();
    if decoder.datatype().map_err(text)? == Type::Break {
        decoder.skip().map_err(text)?;
        return Ok(false);
    }
    Ok(true)
}

/// Writes a number of 32 or 64 bits.
pub(crate) fn write_float(out: &mut Encoder, number: f64, single: bool) {
    if single {
        out.float(number as f32);
    } else {
        out.double(number);
    }
}

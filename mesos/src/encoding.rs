//! The two encodings of messages: protobuf, and JSON as Mesos writes and reads it, for people who debug.
//!
//! JSON here means: fields by their names in the contract (`framework_id`), enum values by name, bytes in base64, 64-bit
//! numbers as numbers, no field that is not set. Unknown fields are skipped in both encodings. A message that lacks a
//! required field is an error that names the field, as it is for Mesos; the generated code alone would not notice.

use std::sync::LazyLock;

use bytes::Bytes;
use prost::{Message, Name};
use prost_reflect::{
    Cardinality, DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, ReflectMessage as _,
    SerializeOptions, Value,
};

/// What JSON looks like.
const JSON_WRITTEN: SerializeOptions = SerializeOptions::new()
    .stringify_64_bit_integers(false)
    .use_proto_field_name(true)
    .skip_default_fields(true);
const JSON_READ: DeserializeOptions = DeserializeOptions::new().deny_unknown_fields(false);

static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| {
    DescriptorPool::decode(crate::v1::DESCRIPTORS).expect("our own build wrote these descriptors")
});

/// How messages are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Encoding {
    /// Binary protobuf.
    #[default]
    Protobuf,
    /// JSON.
    Json,
}

/// Why bytes are not a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not in the encoding at all, or with values of the wrong kind.
    #[error("not a {message} in {encoding}: {reason}")]
    Malformed {
        /// Full name of the message in the contract.
        message: String,
        /// The encoding that was expected.
        encoding: Encoding,
        /// What the decoder says.
        reason: String,
    },
    /// A required field is not there.
    #[error("{message} lacks the required field {path}")]
    Missing {
        /// Full name of the message in the contract.
        message: String,
        /// The way to the field, like `launch.task.task_id`.
        path: String,
    },
}

impl std::fmt::Display for Encoding {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(match self {
            Self::Protobuf => "protobuf",
            Self::Json => "JSON",
        })
    }
}

impl Encoding {
    /// The media type of requests and responses in it.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Protobuf => crate::headers::PROTOBUF,
            Self::Json => crate::headers::JSON,
        }
    }

    /// The encoding of a `Content-Type`, if it is one of the two.
    pub fn of_media_type(media_type: &str) -> Option<Self> {
        let bare = media_type.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|encoding| bare.eq_ignore_ascii_case(encoding.media_type()))
    }

    /// Writes a message.
    pub fn encode<M: Message + Name>(self, message: &M) -> Bytes {
        let binary = message.encode_to_vec();
        match self {
            Self::Protobuf => binary.into(),
            Self::Json => {
                let dynamic = DynamicMessage::decode(descriptor::<M>(), binary.as_slice())
                    .expect("a message of the contract fits its own descriptor");
                let mut json = Vec::new();
                dynamic
                    .serialize_with_options(&mut serde_json::Serializer::new(&mut json), &JSON_WRITTEN)
                    .expect("writing to memory does not fail, and all keys are strings");
                json.into()
            }
        }
    }

    /// Reads a message, with all that is required of it.
    pub fn decode<M: Message + Name + Default>(self, bytes: &[u8]) -> Result<M, Error> {
        let malformed = |reason: String| Error::Malformed { message: M::full_name(), encoding: self, reason };
        match self {
            Self::Protobuf => {
                let message = M::decode(bytes).map_err(|error| malformed(error.to_string()))?;
                let dynamic = DynamicMessage::decode(descriptor::<M>(), bytes)
                    .map_err(|error| malformed(error.to_string()))?;
                complete(&dynamic)?;
                Ok(message)
            }
            Self::Json => {
                let mut json = serde_json::Deserializer::from_slice(bytes);
                let dynamic =
                    DynamicMessage::deserialize_with_options(descriptor::<M>(), &mut json, &JSON_READ)
                        .map_err(|error| malformed(error.to_string()))?;
                json.end().map_err(|error| malformed(error.to_string()))?;
                complete(&dynamic)?;
                M::decode(dynamic.encode_to_vec().as_slice()).map_err(|error| malformed(error.to_string()))
            }
        }
    }
}

fn descriptor<M: Name>() -> MessageDescriptor {
    POOL.get_message_by_name(&M::full_name()).expect("all messages of the contract are in its descriptors")
}

fn complete(message: &DynamicMessage) -> Result<(), Error> {
    let mut path = Vec::new();
    if missing(message, &mut path) {
        return Err(Error::Missing {
            message: message.descriptor().full_name().to_owned(),
            path: path.join("."),
        });
    }
    Ok(())
}

/// Whether something required is missing, in the message or in what it holds; then `path` leads to it.
fn missing(message: &DynamicMessage, path: &mut Vec<String>) -> bool {
    for field in message.descriptor().fields() {
        if field.cardinality() == Cardinality::Required && !message.has_field(&field) {
            path.push(field.name().to_owned());
            return true;
        }
    }
    message.fields().any(|(field, value)| {
        path.push(field.name().to_owned());
        let found = missing_within(value, path);
        if !found {
            path.pop();
        }
        found
    })
}

fn missing_within(value: &Value, path: &mut Vec<String>) -> bool {
    match value {
        Value::Message(message) => missing(message, path),
        Value::List(values) => values.iter().any(|value| missing_within(value, path)),
        Value::Map(values) => values.values().any(|value| missing_within(value, path)),
        _ => false,
    }
}

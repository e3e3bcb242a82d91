//! Values that are written as text wherever they are kept: the conversions that serde asks for.

/// For a type with `FromStr` and `Display`, and `#[serde(try_from = "String", into = "String")]`.
macro_rules! text_form {
    ($name:ty, $error:ty) => {
        impl TryFrom<String> for $name {
            type Error = $error;
            fn try_from(text: String) -> Result<Self, $error> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    };
}

pub(crate) use text_form;

//! The wire: the protocol buffers of fromagerie.v1 and the types generated from them.

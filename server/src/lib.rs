//! Transport: the fromagerie binary and its gRPC services.

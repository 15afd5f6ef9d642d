#include "edc.h"

const char *edc_strerror(int status) {
  switch (status) {
  case EDC_OK:
    return "no error";
  case EDC_ERROR_ARGUMENT:
    return "a pointer is NULL";
  default:
    return "unknown status";
  }
}

/* A stand-in for TensorFlow Lite Micro: the names and shapes of what the firmware calls, with the
 * generated C behind them. It lets every test of the engine run where that library is not.
 */
#ifndef STAND_IN_H
#define STAND_IN_H

#include <stddef.h>
#include <stdint.h>

enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };

struct TfLiteIntArray {
  int size;
  int data[4];
};

struct TfLiteTensor {
  union {
    int8_t *int8;
  } data;
};

struct TfLiteEvalTensor {
  union {
    int8_t *int8;
  } data;
  TfLiteIntArray *dims;
};

struct TfLiteContext {
  void *state; /* of the generated C */
};

struct TfLiteNode {
  uint32_t layer;
};

struct TFLMRegistration {
  TfLiteStatus (*invoke)(TfLiteContext *context, TfLiteNode *node);
};

namespace tflite {

enum BuiltinOperator { BuiltinOperator_CONV_2D, BuiltinOperator_DEPTHWISE_CONV_2D, kOps };

TFLMRegistration Register_CONV_2D();
TFLMRegistration Register_DEPTHWISE_CONV_2D();
inline TFLMRegistration Register_CONV_2D_INT8() { return Register_CONV_2D(); }
inline TFLMRegistration Register_DEPTHWISE_CONV_2D_INT8() { return Register_DEPTHWISE_CONV_2D(); }
inline TFLMRegistration Register_CONV_2D_INT16() { return Register_CONV_2D(); }
inline TFLMRegistration Register_DEPTHWISE_CONV_2D_INT16() { return Register_DEPTHWISE_CONV_2D(); }

namespace micro {
TfLiteEvalTensor *GetEvalOutput(const TfLiteContext *context, const TfLiteNode *node, int index);
}

struct Model;
inline const Model *GetModel(const void *bytes) { return static_cast<const Model *>(bytes); }

class MicroOpResolver {
public:
  virtual ~MicroOpResolver() {}
  virtual const TFLMRegistration *FindOp(int op) const = 0;
};

template <unsigned int count> class MicroMutableOpResolver : public MicroOpResolver {
public:
  TfLiteStatus AddConv2D(const TFLMRegistration &made) {
    return Add(BuiltinOperator_CONV_2D, made);
  }
  TfLiteStatus AddDepthwiseConv2D(const TFLMRegistration &made) {
    return Add(BuiltinOperator_DEPTHWISE_CONV_2D, made);
  }
  const TFLMRegistration *FindOp(int op) const override {
    return ops_[op].invoke == nullptr ? nullptr : &ops_[op];
  }

private:
  TfLiteStatus Add(int op, const TFLMRegistration &made) {
    if (added_ == count) {
      return kTfLiteError;
    }
    ++added_;
    ops_[op] = made;
    return kTfLiteOk;
  }
  void operator delete(void *) {}

  unsigned int added_ = 0;
  TFLMRegistration ops_[kOps] = {};
};

class MicroInterpreter {
public:
  MicroInterpreter(const Model *model, const MicroOpResolver &ops, uint8_t *arena, size_t bytes);
  ~MicroInterpreter();
  TfLiteStatus AllocateTensors();
  TfLiteStatus Invoke();
  TfLiteTensor *input(size_t index);
  TfLiteTensor *output(size_t index);
  size_t arena_used_bytes() const;

private:
  const MicroOpResolver &ops_;
  TfLiteContext context_;
  size_t bytes_;
  TfLiteTensor input_;
  TfLiteTensor output_;
};

} // namespace tflite

#endif

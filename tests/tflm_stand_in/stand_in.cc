#include "tensorflow/lite/micro/stand_in.h"

#include "codec.h"

#ifdef STAND_IN_PRINTS
void MicroPrintf(const char *format, ...) { (void)format; }
#endif

namespace tflite {
namespace {

TfLiteIntArray dims = {3, {1, 0, 0, 0}};
TfLiteEvalTensor evaluated = {{nullptr}, &dims};

/* An object with a constructor, which must have run before the first call. */
struct Started {
  Started() : yes(true) {}
  bool yes;
};
Started *volatile started;
Started start;

TfLiteStatus Run(TfLiteContext *context, TfLiteNode *node) {
#ifdef STAND_IN_CHECKS
  static const char *volatile text = "HALTED";
  (void)text;
#endif
  stand_in_run(context->state, node->layer);
#ifdef STAND_IN_FAULT
  if (node->layer == STAND_IN_FAULT) {
    /* The last position's second channel, as a kernel that misjudges padding does it. */
    const StandInLayer &layer = stand_in_layers[node->layer];
    const int value = (layer.width - 1) * layer.channels + 1;
    stand_in_output(context->state, node->layer)[value * STAND_IN_ACTIVATION_BYTES] ^= 4;
  }
#endif
  return kTfLiteOk;
}

} // namespace

TFLMRegistration Register_CONV_2D() { return {Run}; }
#ifndef STAND_IN_NO_DEPTHWISE
TFLMRegistration Register_DEPTHWISE_CONV_2D() { return {Run}; }
#endif

TfLiteEvalTensor *micro::GetEvalOutput(const TfLiteContext *context, const TfLiteNode *node, int) {
  evaluated.data.int8 = stand_in_output(context->state, node->layer);
  dims.data[1] = stand_in_layers[node->layer].width;
  dims.data[2] = stand_in_layers[node->layer].channels;
  return &evaluated;
}

MicroInterpreter::MicroInterpreter(const Model *, const MicroOpResolver &ops, uint8_t *arena,
                                   size_t bytes)
    : ops_(ops), context_{arena}, bytes_(bytes) {
  started = &start;
}

MicroInterpreter::~MicroInterpreter() {}

TfLiteStatus MicroInterpreter::AllocateTensors() {
  if (bytes_ < arena_used_bytes() + STAND_IN_START_BYTES || !started->yes) {
    return kTfLiteError;
  }
  input_.data.int8 = stand_in_input(context_.state);
  output_.data.int8 = stand_in_latent(context_.state);
  return kTfLiteOk;
}

TfLiteStatus MicroInterpreter::Invoke() {
  for (uint32_t layer = 0; layer < stand_in_layer_count; ++layer) {
    const TFLMRegistration *made = ops_.FindOp(stand_in_layers[layer].op);
    TfLiteNode node = {layer};
    if (made == nullptr || made->invoke(&context_, &node) != kTfLiteOk) {
      return kTfLiteError;
    }
  }
  return kTfLiteOk;
}

TfLiteTensor *MicroInterpreter::input(size_t) { return &input_; }
TfLiteTensor *MicroInterpreter::output(size_t) { return &output_; }
size_t MicroInterpreter::arena_used_bytes() const { return stand_in_state_bytes; }

} // namespace tflite

// stylize MODEL IN.ppm OUT.ppm: the shortest whole program around model.int8.onnx.
#include <onnxruntime_cxx_api.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <stdexcept>
#include <vector>

struct Picture {
  int64_t height = 0, width = 0;
  std::vector<uint8_t> rgb;  // height x width x 3, rows first
};

static Picture read_ppm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string magic;
  int64_t levels = 0;
  Picture picture;
  file >> magic >> picture.width >> picture.height >> levels;
  const int64_t most = 16384;
  if (magic != "P6" || levels != 255 || picture.width < 1 || picture.height < 1 ||
      picture.width > most || picture.height > most || !file.ignore(1))
    throw std::runtime_error(std::string(path) + " is no binary 8-bit PPM (P6)");
  picture.rgb.resize(picture.height * picture.width * 3);
  if (!file.read(reinterpret_cast<char*>(picture.rgb.data()), picture.rgb.size()))
    throw std::runtime_error(std::string(path) + " is cut off");
  return picture;
}

static void write_ppm(const char* path, const uint8_t* rgb, int64_t height, int64_t width) {
  std::ofstream file(path, std::ios::binary);
  file << "P6\n" << width << ' ' << height << "\n255\n";
  file.write(reinterpret_cast<const char*>(rgb), height * width * 3);
  if (!file.flush()) throw std::runtime_error(std::string("cannot write ") + path);
}

int main(int count, char** arguments) try {
  if (count != 4) throw std::runtime_error("usage: stylize MODEL IN.ppm OUT.ppm");
  Picture photo = read_ppm(arguments[2]);

  Ort::Env env(ORT_LOGGING_LEVEL_ERROR, "stylize");
  Ort::SessionOptions options;
  Ort::Session session(env, arguments[1], options);

  const int64_t shape[] = {1, photo.height, photo.width, 3};  // NHWC bytes, as cameras give them
  auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  auto input = Ort::Value::CreateTensor<uint8_t>(memory, photo.rgb.data(), photo.rgb.size(), shape, 4);
  Ort::AllocatorWithDefaultOptions allocator;
  auto input_name = session.GetInputNameAllocated(0, allocator);
  auto output_name = session.GetOutputNameAllocated(0, allocator);
  const char* inputs[] = {input_name.get()};
  const char* outputs[] = {output_name.get()};
  auto painted = session.Run(Ort::RunOptions{nullptr}, inputs, &input, 1, outputs, 1);

  write_ppm(arguments[3], painted[0].GetTensorData<uint8_t>(), photo.height, photo.width);
  return 0;
} catch (const std::exception& error) {
  std::cerr << "stylize: " << error.what() << '\n';
  return 1;
}

// Not built here. Package: https://github.com/microsoft/onnxruntime-swift-package-manager, product
// onnxruntime. Add model.int8.onnx to the app's resources.
import CoreGraphics
import Foundation
import OnnxRuntimeBindings

final class Stylizer {
    private let environment: ORTEnv
    private let session: ORTSession

    init() throws {
        guard let path = Bundle.main.path(forResource: "model.int8", ofType: "onnx") else {
            throw CocoaError(.fileNoSuchFile)
        }
        environment = try ORTEnv(loggingLevel: .error)
        session = try ORTSession(env: environment, modelPath: path, sessionOptions: nil)
    }

    /// Paints a picture; call it off the main thread.
    func stylize(_ photo: CGImage) throws -> CGImage {
        let (width, height) = (photo.width, photo.height)
        var rgba = [UInt8](repeating: 255, count: width * height * 4)
        try draw(photo, &rgba, width, height)

        let rgb = NSMutableData(length: width * height * 3)!
        let bytes = rgb.mutableBytes.assumingMemoryBound(to: UInt8.self)
        for i in 0..<width * height {
            for c in 0..<3 { bytes[i * 3 + c] = rgba[i * 4 + c] }
        }
        let shape = [1, height, width, 3].map { NSNumber(value: $0) }  // NHWC bytes
        let input = try ORTValue(tensorData: rgb, elementType: .uInt8, shape: shape)
        let (inputs, outputs) = (try session.inputNames(), try session.outputNames())
        let result = try session.run(
            withInputs: [inputs[0]: input], outputNames: [outputs[0]], runOptions: nil)
        let painted = try result[outputs[0]]!.tensorData() as Data
        for i in 0..<width * height {
            for c in 0..<3 { rgba[i * 4 + c] = painted[i * 3 + c] }
        }
        return try context(&rgba, width, height).makeImage()!
    }

    private func draw(_ photo: CGImage, _ rgba: inout [UInt8], _ width: Int, _ height: Int) throws {
        try context(&rgba, width, height)
            .draw(photo, in: CGRect(x: 0, y: 0, width: width, height: height))
    }

    private func context(_ rgba: inout [UInt8], _ width: Int, _ height: Int) throws -> CGContext {
        let space = CGColorSpace(name: CGColorSpace.sRGB)!
        let info = CGImageAlphaInfo.noneSkipLast.rawValue
        guard let context = CGContext(
            data: &rgba, width: width, height: height, bitsPerComponent: 8,
            bytesPerRow: width * 4, space: space, bitmapInfo: info)
        else { throw CocoaError(.coderInvalidValue) }
        return context
    }
}

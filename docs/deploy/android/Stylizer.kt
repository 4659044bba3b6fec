// Not built here. build.gradle.kts: implementation("com.microsoft.onnxruntime:onnxruntime-android:1.30.0")
// Put model.int8.onnx into src/main/assets.
import ai.onnxruntime.OnnxJavaType
import ai.onnxruntime.OnnxTensor
import ai.onnxruntime.OrtEnvironment
import android.content.Context
import android.graphics.Bitmap
import java.nio.ByteBuffer
import java.nio.ByteOrder

class Stylizer(context: Context) : AutoCloseable {
    private val environment = OrtEnvironment.getEnvironment()
    private val session =
        environment.createSession(context.assets.open("model.int8.onnx").use { it.readBytes() })

    /** Paints an ARGB_8888 picture; call it off the main thread. */
    fun stylize(photo: Bitmap): Bitmap {
        val (width, height) = photo.width to photo.height
        val pixels = IntArray(width * height)
        photo.getPixels(pixels, 0, width, 0, 0, width, height)
        val rgb = ByteBuffer.allocateDirect(pixels.size * 3).order(ByteOrder.nativeOrder())
        for (pixel in pixels) {
            rgb.put((pixel shr 16).toByte()).put((pixel shr 8).toByte()).put(pixel.toByte())
        }
        rgb.rewind()
        val shape = longArrayOf(1, height.toLong(), width.toLong(), 3) // NHWC bytes
        OnnxTensor.createTensor(environment, rgb, shape, OnnxJavaType.UINT8).use { input ->
            session.run(mapOf(session.inputNames.first() to input)).use { result ->
                val painted = (result[0] as OnnxTensor).byteBuffer
                for (i in pixels.indices) {
                    val red = painted.get().toInt() and 255
                    val green = painted.get().toInt() and 255
                    val blue = painted.get().toInt() and 255
                    pixels[i] = (255 shl 24) or (red shl 16) or (green shl 8) or blue
                }
            }
        }
        return Bitmap.createBitmap(pixels, width, height, Bitmap.Config.ARGB_8888)
    }

    override fun close() = session.close()
}
